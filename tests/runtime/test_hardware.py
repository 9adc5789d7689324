"""What the machine computes with, from the system's own files."""

from __future__ import annotations

import pytest

from rsvl.runtime import hardware


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu sse avx2 avx512f avx512_vnni avx512_bf16", ["AVX2", "AVX-512", "VNNI (int8)", "BF16"]),
        ("fp asimd asimdhp i8mm bf16", ["BF16", "NEON", "FP16", "I8MM (int8)"]),
        ("fpu sse", []),
    ],
)
def test_cpu_features_are_read_from_the_flags(monkeypatch: pytest.MonkeyPatch, flags: str, expected: list[str]) -> None:
    monkeypatch.setattr(
        hardware, "read_system_file", lambda path: f"flags : {flags}\n" if path == "/proc/cpuinfo" else ""
    )
    assert hardware.cpu_features() == expected


def test_jetson_board_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    board = "NVIDIA Jetson AGX Orin Developer Kit"
    monkeypatch.setattr(hardware, "read_system_file", lambda path: f"{board}\0" if "device-tree" in str(path) else "")
    assert hardware.nvidia_device() == board


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [("processor\t: 0\nmodel name\t: AMD EPYC 9554 \nmodel name\t: other\n", "AMD EPYC 9554"), ("", "aarch64")],
    ids=["x86", "not told"],
)
def test_cpu_is_named(monkeypatch: pytest.MonkeyPatch, cpuinfo: str, expected: str) -> None:
    monkeypatch.setattr(hardware, "read_system_file", lambda path: cpuinfo)
    monkeypatch.setattr(hardware.platform, "processor", lambda: "")
    monkeypatch.setattr(hardware.platform, "machine", lambda: "aarch64")
    assert hardware.cpu_model() == expected
