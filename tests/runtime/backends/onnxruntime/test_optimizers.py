"""Half precision on Arm is loaded without the optimizers that spoil it there, and everything else with all of them."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from rsvl.runtime.backends.onnxruntime.optimizers import disabled_optimizers
from rsvl.runtime.backends.onnxruntime.providers import PROVIDERS
from rsvl.runtime.backends.onnxruntime.session import OnnxRuntimeSession
from rsvl.runtime.bundle import Bundle
from tests.support.toy_bundle import write_bundle

SPOILING = ("NhwcTransformer", "BiasGeluFusion", "GeluFusionL1", "GeluFusionL2")


@pytest.mark.parametrize(
    ("precision", "machine", "expected"),
    [
        ("fp16", "aarch64", SPOILING),  # Linux
        ("fp16", "arm64", SPOILING),  # macOS
        ("fp16", "ARM64", SPOILING),  # Windows
        ("fp16", "x86_64", ()),
        ("fp16", "AMD64", ()),
        ("fp32", "aarch64", ()),
        ("int8", "aarch64", ()),  # there NHWC makes convolutions faster
    ],
)
def test_disabled_optimizers_depend_on_precision_and_machine(
    precision: str, machine: str, expected: tuple[str, ...]
) -> None:
    assert disabled_optimizers(precision, machine) == expected


@pytest.mark.parametrize(("machine", "expected"), [("aarch64", ";".join(SPOILING)), ("x86_64", "")])
def test_every_graph_is_loaded_without_the_disabled_optimizers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, expected: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    (cpu,) = (provider for provider in PROVIDERS if provider.name == "cpu")
    bundle = Bundle(write_bundle(tmp_path / "half", precision="fp16"))
    sessions = OnnxRuntimeSession(bundle, cpu, threads=1)._sessions.values()
    assert [_disabled(session) for session in sessions] == [expected] * 3


def _disabled(session) -> str:
    options = session.get_session_options()
    try:
        return options.get_session_config_entry("optimization.disable_specified_optimizers")
    except RuntimeError:  # as ONNX Runtime says that there is no such entry
        return ""
