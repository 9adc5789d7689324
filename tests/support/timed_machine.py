"""A machine whose backends take the time that a test gives them, by a clock that only they move."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import pytest

from rsvl.runtime.backends import per_graph, session
from rsvl.runtime.backends.onnxruntime.providers import find_provider
from rsvl.runtime.backends.onnxruntime.session import OnnxRuntimeSession
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.tuning import choice as choices
from rsvl.runtime.tuning import tune as tuning
from rsvl.runtime.tuning.duel import Timer

Way = tuple[str, str, "int | None"]
"""Graph, provider and threads."""


class TimedMachine(Timer):
    """Two cores, ONNX Runtime, and an OpenVINO that is ONNX Runtime under its name.

    Attributes:
        seconds: of a run of a graph, by way or by graph and provider; one second for any other.
        wrong: ways whose outputs are not what they should be.
        runs: every run, in order.
    """

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, seconds: Mapping[Any, float], wrong: Collection[Any] = ()
    ) -> None:
        self.seconds, self.wrong, self.runs = dict(seconds), wrong, list[Way]()
        self._now = 100.0
        monkeypatch.setattr(per_graph, "OpenVinoSession", self._openvino)
        monkeypatch.setattr(per_graph, "OnnxRuntimeSession", self._onnxruntime)
        monkeypatch.setattr(session, "open_backend", self._default)
        monkeypatch.setattr(tuning, "open_backend", self._default)
        monkeypatch.setattr(tuning, "cores", lambda: 2)
        monkeypatch.setattr(choices, "_version", lambda distribution: "2026.4")

    def now(self) -> float:
        """See `Timer`."""
        return self._now

    def wait(self, seconds: float) -> None:
        """See `Timer`."""

    def spend(self, way: Way) -> None:
        """Lets the time of a run pass."""
        self.runs.append(way)
        self._now += self.seconds.get(way, self.seconds.get(way[:2], 1.0))

    def _default(self, bundle: Bundle, provider: str | None, threads: int | None) -> _Timed:
        return _Timed(self, bundle, provider or "cpu", threads, None)

    def _openvino(self, bundle: Bundle, provider: str, threads: int | None, only: Collection[str] | None) -> _Timed:
        return _Timed(self, bundle, provider, threads, only)

    def _onnxruntime(self, bundle: Bundle, provider: Any, threads: int | None, only: Collection[str] | None) -> _Timed:
        return _Timed(self, bundle, provider.name, threads, only)


class _Timed(OnnxRuntimeSession):
    def __init__(
        self,
        machine: TimedMachine,
        bundle: Bundle,
        provider: str,
        threads: int | None,
        only: Collection[str] | None,
    ) -> None:
        cpu = find_provider("cpu")
        assert cpu is not None
        super().__init__(bundle, cpu, 1, only)
        self.provider, self._machine, self._threads = provider, machine, threads
        if provider == "openvino-bf16":
            self.precision = "bf16"

    def run_graph(self, name: str, outputs: Iterable[str], feeds: Mapping[str, Any]) -> list[Any]:
        found = super().run_graph(name, outputs, feeds)
        way = (name, self.provider, self._threads)
        self._machine.spend(way)
        if way in self._machine.wrong or way[:2] in self._machine.wrong:
            return [np.zeros_like(each.numpy()) for each in found]
        return found
