"""Workers that do what their jobs say: finish, fail, crash, hang."""

from __future__ import annotations

import errno
import os
import signal
import time
from dataclasses import dataclass
from typing import Any

from rsvl.runtime.errors import OutputError
from rsvl.runtime.watch.supervisor import Tell, UnsoundError


def explain(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


@dataclass(frozen=True)
class Obedient:
    """Does what the content of a scene's file says, once or always."""

    broken: bool = False

    def __call__(self, tell: Tell) -> Obedient:
        if self.broken:
            raise ValueError("no such bundle")
        return self

    def answer(self, job: Any, tell: Tell) -> Any:
        word = job if isinstance(job, str) else job.scene.read_text().split()[0]
        if word.startswith("once-"):
            marker = job.folder.parent / f"{job.stem}.tried"
            if marker.exists():
                word = "found"
            else:
                marker.touch()
                word = word.removeprefix("once-")
        if word == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif word == "hang":
            time.sleep(60)
        elif word == "fail":
            raise ValueError("a damaged file")
        elif word == "unsound":
            raise UnsoundError("the golden test gives other bits")
        elif word == "full":
            raise OutputError("cannot be written") from OSError(errno.ENOSPC, "No space left on device")
        elif word == "slow":
            for _ in range(6):
                time.sleep(0.1)
                tell()
        elif word == "part":
            (job.folder / f"part-{len(list(job.folder.glob('part-*'))):06d}.npz").touch()
            if len(list(job.folder.glob("part-*"))) < 5:
                raise ValueError("one part further")
        if isinstance(job, str):
            tell({"parts": [job]})
            return job.upper()
        (job.folder / f"{job.stem}-answer.json").write_text(f"{os.getpid()}")
        return {"files": [f"{job.stem}-answer.json"], "found": [{"text": "a ship", "count": 0}]}
