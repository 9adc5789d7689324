"""A service of toy bundles, in this process or in one of its own, and golden tests for toy bundles that have none."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

import numpy as np

from rsvl.runtime.loading import load
from tests.support.toy_bundle import LENGTH, WORDS, write_manifest
from tests.support.toy_tasks import write_task_bundle


def write_golden_bundle(folder: Path, task: str) -> Path:
    """The toy bundle of a task, with a golden test of what it gives here."""
    write_task_bundle(folder, task)
    runner, rng = load(folder, threads=1), np.random.default_rng(3)
    inputs: dict[str, np.ndarray] = {}
    for name, tensor in runner.spec.raw_inputs.items():
        shape = [2, *tensor.shape[1:]]
        inputs[name] = (
            rng.integers(2, len(WORDS) - 4, (2, LENGTH)) if name == "tokens" else rng.random(shape, np.float32)
        )
    (folder / "golden").mkdir()
    np.savez(folder / "golden/golden.npz", **inputs, **runner.run(**inputs))
    write_manifest(folder, runner.manifest)
    return folder


@dataclass
class Served:
    """A server in a process of its own.

    Attributes:
        process: it.
        address: where it listens.
        log: what it writes to stderr.
    """

    process: subprocess.Popen[str]
    address: str
    log: TextIO

    def logged(self) -> str:
        """What it has written to stderr."""
        self.log.seek(0)
        return self.log.read()

    def connection(self, timeout: float = 30) -> http.client.HTTPConnection:
        """A connection to it."""
        return http.client.HTTPConnection(urlsplit(self.address).netloc, timeout=timeout)

    def json(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """A request of JSON: status and body of the answer."""
        connection = self.connection()
        headers = {"Content-Type": "application/json"} if body is not None else {}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def bytes(self, path: str) -> bytes:
        """The body of an answer."""
        connection = self.connection()
        connection.request("GET", path)
        return connection.getresponse().read()

    def wait_for(self, job: str, status: str, progress: int = 0, seconds: float = 30) -> dict[str, Any]:
        """Waits until a job has a status and so much progress."""
        end = time.monotonic() + seconds
        while True:
            _, about = self.json("GET", f"/jobs/{job}")
            assert 0 <= about["progress"] <= 100, about
            if about["status"] == status and about["progress"] >= progress:
                return about
            assert time.monotonic() < end and about["status"] not in ("failed", "dismissed"), about
            time.sleep(0.02)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Ends it by a signal; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)


def _heed_interrupts() -> None:
    """Undoes that a shell which runs the tests in the background has its children ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def serving(*arguments: object) -> Iterator[Served]:
    """`rsvl serve` with these arguments, on a free port."""
    command = [sys.executable, "-m", "rsvl", "serve", "--port", "0", "--threads", "1", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment, preexec_fn=_heed_interrupts
        )
        try:
            line = process.stdout.readline() if process.stdout else ""
            log.seek(0)
            assert line.startswith("serving at "), log.read()
            yield Served(process, line.split()[-1], log)
        finally:
            process.kill()
            process.communicate()
