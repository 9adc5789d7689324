"""One kernel tells whether a listed provider works."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from rsvl.runtime.backends.onnxruntime import providers
from rsvl.runtime.backends.onnxruntime.providers import PROVIDERS, onnxruntime, why_not_started

CPU = PROVIDERS[-1]
CUDA = next(provider for provider in PROVIDERS if provider.name == "cuda")
TRY = why_not_started.__wrapped__


def with_sessions(monkeypatch: pytest.MonkeyPatch, make: Any) -> None:
    ort = SimpleNamespace(SessionOptions=onnxruntime().SessionOptions, InferenceSession=make)
    monkeypatch.setattr(providers, "onnxruntime", lambda: ort)


def test_provider_that_works_has_no_reason() -> None:
    assert TRY(CPU) == ""


def test_build_for_other_gpus_is_found_by_its_first_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object) -> list:
        raise RuntimeError("CUDA failure 209: no kernel image is available for execution on the device")

    session = SimpleNamespace(get_providers=lambda: [CUDA.full_name], run=run)
    with_sessions(monkeypatch, lambda *_, **__: session)
    assert "no kernel image" in TRY(CUDA)


def test_provider_that_gives_way_lacks_its_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    with_sessions(monkeypatch, lambda *_, **__: SimpleNamespace(get_providers=lambda: [CPU.full_name]))
    assert "libraries" in TRY(CUDA)


def test_wrong_answer_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = SimpleNamespace(tolist=lambda: [2.0])
    session = SimpleNamespace(get_providers=lambda: [CUDA.full_name], run=lambda *_: [answer])
    with_sessions(monkeypatch, lambda *_, **__: session)
    assert "computes" in TRY(CUDA)
