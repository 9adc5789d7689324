"""What the machine has is reported with versions, what it lacks with cost and remedy."""

from __future__ import annotations

from importlib import metadata

import pytest

from rsvl.runtime import doctor, hardware
from rsvl.runtime.backends.onnxruntime.providers import PROVIDERS


def findings() -> dict[str, doctor.Finding]:
    return {finding.name: finding for finding in doctor.examine()}


def test_installed_package_is_reported_with_its_version() -> None:
    found = findings()["onnxruntime"]
    assert found.present and found.value == metadata.version("onnxruntime") and not found.cost


def test_missing_package_names_cost_and_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    version = metadata.version

    def without_rasterio(name: str) -> str:
        if name == "rasterio":
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(doctor.metadata, "version", without_rasterio)
    found = findings()["rasterio"]
    assert not found.present and "georeference" in found.cost and found.remedy == "pip install 'rsvl[geo]'"


@pytest.mark.parametrize(
    ("flags", "version", "expected"),
    [
        ("avx2 avx512_bf16", "2026.4.1", "2026.4.1 (--provider openvino or openvino-bf16)"),
        ("avx2", "2026.4.1", "2026.4.1 (--provider openvino; the CPU has no bfloat16)"),
        ("avx2 avx512_bf16", None, "no --provider openvino-bf16, up to 1.9 times as fast on this CPU"),
        ("avx2", None, "no --provider openvino on this CPU"),
    ],
)
def test_openvino_is_offered_as_the_cpu_can_use_it(
    monkeypatch: pytest.MonkeyPatch, flags: str, version: str | None, expected: str
) -> None:
    monkeypatch.setattr(hardware, "read_system_file", lambda path: f"flags : {flags}\n")
    monkeypatch.setattr(doctor, "_version", lambda distribution: version)
    found = doctor._openvino()
    assert (found.value or found.cost) == expected
    assert found.remedy == ("" if version else "pip install 'rsvl[openvino]'")


def test_every_lack_says_what_it_costs() -> None:
    assert [f.name for f in doctor.examine() if not f.present and not f.cost] == []


CUDA = next(provider for provider in PROVIDERS if provider.name == "cuda")
NO_KERNEL = "no kernel image is available for execution on the device"


@pytest.mark.parametrize(
    ("on_jetson", "remedy"), [(True, doctor._OTHER_BUILD), (False, "")], ids=["on a Jetson", "elsewhere"]
)
def test_listed_provider_without_code_for_the_gpu_is_missing(
    monkeypatch: pytest.MonkeyPatch, on_jetson: bool, remedy: str
) -> None:
    monkeypatch.setattr(doctor, "present_providers", lambda: [CUDA, PROVIDERS[-1]])
    monkeypatch.setattr(doctor, "why_not_started", lambda provider: NO_KERNEL if provider is CUDA else "")
    monkeypatch.setattr(doctor, "_jetson_linux", lambda: "36.4.3" if on_jetson else "")
    found = {finding.name: finding for finding in doctor._providers()}
    assert found["onnxruntime providers"].value.startswith("cpu (")
    assert found["default backend"].value.endswith("cpu (force another with --provider)")
    cuda = found["cuda provider"]
    assert not cuda.present and NO_KERNEL in cuda.cost and cuda.remedy == remedy


@pytest.mark.parametrize(
    ("release", "version", "warned"),
    [
        ("# R36 (release), REVISION: 4.7, GCID: 42132812, BOARD: generic, EABI: aarch64", "36.4.7", True),
        ("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64", "36.4.3", False),
        ("", None, False),
    ],
)
def test_jetson_linux_is_named_and_its_known_fault_too(
    monkeypatch: pytest.MonkeyPatch, release: str, version: str | None, warned: bool
) -> None:
    monkeypatch.setattr(doctor, "read_system_file", lambda path: release if path == "/etc/nv_tegra_release" else "")
    found = {finding.name: finding for finding in doctor._jetson()}
    assert ("jetson linux" in found) == (version is not None)
    assert version is None or found["jetson linux"].value == version
    assert ("gpu memory" in found) == warned
    assert not warned or "error 12" in found["gpu memory"].cost
