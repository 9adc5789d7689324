"""One kernel tells whether a listed provider works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rsvl.runtime.backends.onnxruntime import trial
from rsvl.runtime.backends.onnxruntime.providers import PROVIDERS

CPU = PROVIDERS[-1]
CUDA = next(provider for provider in PROVIDERS if provider.name == "cuda")


class StandIn:
    """A session that starts and then fails at its first kernel, as a build for other GPUs does."""

    def get_providers(self) -> list[str]:
        return [CUDA.full_name]

    def run(self, *_: Any) -> list:
        raise RuntimeError("CUDA failure 209: no kernel image is available for execution on the device")


def test_provider_that_works_has_no_reason() -> None:
    assert trial.why_it_does_not_run(CPU) == ""


def test_build_for_other_gpus_is_found_by_its_first_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "start", lambda *_: StandIn())
    assert "no kernel image" in trial.why_it_does_not_run(CUDA)


def test_provider_that_gives_way_lacks_its_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    start = trial.start

    def on_cpu(graph: Path, options: object, provider: object, present: object, folder: Path) -> object:
        return start(graph, options, CPU, [CPU], folder)

    monkeypatch.setattr(trial, "start", on_cpu)
    assert "libraries" in trial.why_it_does_not_run(CUDA)
