"""Blocks of scenes done by Ray actors, on this machine or on a cluster that sees the same files."""

from __future__ import annotations

import importlib
import os
import secrets
import socket
import warnings
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from rsvl.runtime.bundle import MANIFEST, sha256
from rsvl.runtime.errors import DeviceError, InputError, MissingComponentError, OutputError
from rsvl.runtime.extras import remedy
from rsvl.runtime.loading import load
from rsvl.runtime.scenes.plan import Plan, hash_in
from rsvl.runtime.scenes.work import BlockWorker, Located

LOCAL = "local"
"""The address of a Ray of one's own on this machine."""

_DEATHS = 4
"""Of workers, that one block may cost, or in a row before they have done any."""
_PATIENCE_S = 120.0
"""How long no worker may have a place before it is an error."""
_KNOCK_S = 5.0
"""How long a cluster may take to take a connection."""
_STORE_BYTES = 80 << 20
"""Ray's least object store: what actors are told and answer is small, pixels and parts are files."""


class RayWorkers:
    """An `rsvl.runtime.scenes.executors.Executor` of Ray actors, which stay for all scenes until `close`.

    A worker that dies costs the block that it was doing: another does it again, and a new worker takes its place. Ray
    sends no statistics; one that is started here has no dashboard and listens on the loopback interface only.

    Attributes:
        count: workers.
    """

    def __init__(self, address: str = LOCAL, count: int | None = None, gpu: bool = False) -> None:
        """Starts Ray, or joins it.

        Args:
            address: ``local`` to start one on this machine for as long as this object lives, or a cluster's, HOST:PORT.
            count: workers; None for one per GPU where each takes one, otherwise one.
            gpu: whether each takes a GPU.

        Raises:
            MissingComponentError: Ray is not installed.
            DeviceError: it cannot be started, no cluster answers, or it has no GPU.
        """
        self._is_local = address == LOCAL
        self._ray = _connect(address, count or 1)
        gpus = int(self._ray.cluster_resources().get("GPU", 0))
        if gpu and not gpus:
            self.close()
            raise DeviceError(f"Ray ({address}) has no GPU: choose --provider cpu, or a cluster with GPUs")
        self.count, self._gpu = count or (gpus if gpu else 1), gpu
        self._idle: list[Any] = []
        self._owed: dict[Any, tuple[Any, int | None]] = {}
        """The answers to come: of which actor, and about which block; None where it says that it is there."""

    def __enter__(self) -> RayWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the workers, and Ray where it was started here."""
        self._ray.shutdown()

    def threads(self, in_all: int | None) -> int:
        """See `Executor`: the cluster's cores, or what is given, shared; no more than its smallest machine has."""
        if self._is_local:
            return max(1, (in_all or os.cpu_count() or 1) // self.count)
        cores = [int(node["Resources"].get("CPU", 0)) for node in self._ray.nodes() if node["Alive"]]
        least = min(filter(None, cores), default=1)
        return max(1, min(least, (in_all or sum(cores)) // self.count))

    def do(self, plan: Plan, folder: Path, blocks: Sequence[int], done: Callable[[int], None]) -> None:
        """See `Executor`.

        Raises:
            OutputError: a worker does not see the folder.
            InputError: a worker sees another bundle.
            DeviceError: workers die again and again, or there is no place for any.
        """
        plan = replace(plan, scene=plan.scene.absolute(), bundle=plan.bundle.absolute())
        try:
            self._do(plan, folder.absolute(), deque(blocks), done)
        except BaseException:
            for actor in [*self._idle, *(actor for actor, _ in self._owed.values())]:
                self._end(actor)  # it may be busy with a block that nobody waits for
            self._idle, self._owed = [], {}
            raise

    def _do(self, plan: Plan, folder: Path, waiting: deque[int], done: Callable[[int], None]) -> None:
        left, deaths = len(waiting), Counter[int | None]()
        while left:
            self._fill_up(plan.threads or 1)
            while waiting and self._idle:
                actor, block = self._idle.pop(), waiting.popleft()
                self._owed[actor.do.remote(plan, folder, block)] = actor, block
            answer, actor, about = self._next()
            try:
                tiles = self._ray.get(answer)
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except self._ray.exceptions.RayError as error:
                self._end(actor)
                deaths[about] += 1
                if deaths[about] == _DEATHS:
                    when = "at the start" if about is None else "over one block"
                    raise DeviceError(
                        f"{_DEATHS} workers of Ray died {when}, perhaps for lack of memory: use fewer --workers; "
                        "what is done is kept"
                    ) from error
                waiting.extendleft(() if about is None else (about,))
                continue
            self._idle.append(actor)
            if about is not None:
                left, deaths[None] = left - 1, 0
                done(tiles)

    def _fill_up(self, threads: int) -> None:
        """Asks for the workers that are missing."""
        cpus = 1 if self._is_local else threads
        for _ in range(self.count - len(self._idle) - len(self._owed)):
            actor = self._ray.remote(_Worker).options(num_cpus=cpus, num_gpus=int(self._gpu)).remote()
            self._owed[actor.ready.remote()] = actor, None

    def _next(self) -> tuple[Any, Any, int | None]:
        """The next answer, the actor that gave it, and the block that it is about."""
        is_busy = any(block is not None for _, block in self._owed.values())
        answers, _ = self._ray.wait(list(self._owed), timeout=None if is_busy else _PATIENCE_S)
        if not answers:
            raise DeviceError(
                f"Ray had no place for a worker within {_PATIENCE_S:.0f} s: ask for fewer --threads, or wait for others"
            )
        return (answers[0], *self._owed.pop(answers[0]))

    def _end(self, actor: Any) -> None:
        with suppress(self._ray.exceptions.RayError):
            self._ray.kill(actor)


class _Worker:
    """An actor: a loaded bundle, and the scene of the last block."""

    def __init__(self) -> None:
        warnings.simplefilter("ignore")  # what there is to tell, the one who asks tells
        self._runner: Located | None = None
        self._worker: BlockWorker | None = None
        self._bundle: object = None
        self._plan: object = None

    def ready(self) -> None:
        """Answers as soon as there is a place for it."""

    def do(self, plan: Plan, folder: Path, block: int) -> int:
        """Does a block: see `BlockWorker.do`."""
        asked = plan.to_dict()["plan_sha256"], folder
        if self._worker is None or self._plan != asked:
            self._worker, self._plan = self._open(plan, folder), asked
        return self._worker.do(self._worker.read(block))

    def _open(self, plan: Plan, folder: Path) -> BlockWorker:
        if hash_in(folder) != plan.to_dict()["plan_sha256"]:
            raise OutputError(
                f"{folder}: {socket.gethostname()} does not see what was written there: choose an -o that all machines "
                "share under the same name"
            )
        bundle = plan.bundle, plan.hashes[1], plan.provider, plan.threads
        if self._runner is None or self._bundle != bundle:
            self._runner, self._bundle = load(plan.bundle, plan.provider, plan.threads), bundle
            if sha256(self._runner.bundle.root / MANIFEST) != plan.hashes[1]:
                self._runner = None
                raise InputError(f"{plan.bundle}: on {socket.gethostname()} it is another bundle: copy it there")
        return BlockWorker(plan, folder, self._runner)


def _connect(address: str, count: int) -> Any:
    """Ray, started or joined.

    Raises:
        MissingComponentError: it is not installed.
        DeviceError: it does not start or answer.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    options: dict[str, object] = {}
    if address == LOCAL:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # elsewhere, too: all of it on the loopback interface
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # otherwise it writes one to the home folder
        options = {"num_cpus": count, "include_dashboard": False, "object_store_memory": _STORE_BYTES}
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise MissingComponentError(f"--ray needs ray: {remedy('ray')}") from error
    try:
        if address != LOCAL:
            _knock(address)
        ray.init(address, log_to_driver=False, logging_level="ERROR", **options)
    except (OSError, RuntimeError, ValueError) as error:  # ConnectionError and TimeoutError are an OSError
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DeviceError(f"Ray ({address}) does not answer ({reason}): start it, or use --ray local") from error
    return ray


def _knock(address: str) -> None:
    """Fails in seconds where nobody listens; Ray itself tries on for more than a minute.

    Raises:
        OSError: nobody does.
        ValueError: the address has no port.
    """
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()):
        raise ValueError("no HOST:PORT")
    socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_S).close()
