"""Who does a scene's blocks: this process, several on this machine, or whatever else keeps the protocol."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rsvl.runtime.errors import DeviceError
from rsvl.runtime.processes import follow_parent
from rsvl.runtime.scenes.plan import Plan
from rsvl.runtime.scenes.work import BlockWorker


class Executor(Protocol):
    """Does blocks, each with `BlockWorker.do`, in any order and more than once if need be."""

    def threads(self, in_all: int | None) -> int | None:
        """CPU threads of each worker.

        Args:
            in_all: how many they share; None for all cores.
        """

    def do(self, plan: Plan, folder: Path, blocks: Sequence[int], done: Callable[[int], None]) -> None:
        """Puts the parts of blocks in place.

        Args:
            plan: what is asked.
            folder: where the parts go; it holds the plan.
            blocks: which.
            done: called with the number of tiles of each block that is done.

        Raises:
            RsvlError: a block failed, or those who do them died; the parts that are done stay.
        """


def executor_of(workers: int | Executor) -> Executor:
    """An executor, or so many processes."""
    return Processes(workers) if isinstance(workers, int) else workers


def do_here(worker: BlockWorker, blocks: Sequence[int], done: Callable[[int], None]) -> None:
    """Does blocks one after the other; `done` is called with the number of tiles of each."""
    for pixels in worker.pixels(blocks):
        done(worker.do(pixels))


@dataclass(frozen=True)
class Processes:
    """Processes on this machine.

    Attributes:
        count: how many; each has its own copy of the bundle.
    """

    count: int

    def threads(self, in_all: int | None) -> int | None:
        """See `Executor`."""
        return in_all if self.count == 1 else max(1, (in_all or os.cpu_count() or 1) // self.count)

    def do(self, plan: Plan, folder: Path, blocks: Sequence[int], done: Callable[[int], None]) -> None:
        """See `Executor`.

        Raises:
            DeviceError: a process was killed, as by a system that is short of memory.
        """
        before, count = set(multiprocessing.active_children()), min(self.count, len(blocks))
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(count, mp_context=context, initializer=_start, initargs=(plan, folder))
        try:
            for future in as_completed([pool.submit(_do, block) for block in blocks]):
                done(future.result())
            pool.shutdown()
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - before:
                process.terminate()
            if isinstance(error, BrokenProcessPool):
                raise DeviceError(
                    f"one of {count} processes died, perhaps for lack of memory: "
                    "use fewer --workers; what is done is kept"
                ) from error
            raise


_workers: list[BlockWorker] = []
"""The one of a process that does blocks."""


def _start(plan: Plan, folder: Path) -> None:
    """Makes this process one that does blocks. It ends with its parent, and what there is to tell that one told."""
    follow_parent()
    _workers.append(BlockWorker(plan, folder))


def _do(block: int) -> int:
    (worker,) = _workers
    return worker.do(worker.read(block))
