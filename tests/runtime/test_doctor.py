"""What the machine has is reported with versions, what it lacks with cost and remedy."""

from importlib import metadata

import pytest

from rsvl.runtime import doctor


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
    monkeypatch.setattr(doctor, "_read", lambda path: f"flags : {flags}\n")
    monkeypatch.setattr(doctor, "_version", lambda distribution: version)
    found = doctor._openvino()
    assert (found.value or found.cost) == expected
    assert found.remedy == ("" if version else "pip install 'rsvl[openvino]'")


def test_every_lack_says_what_it_costs() -> None:
    assert [f.name for f in doctor.examine() if not f.present and not f.cost] == []


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu sse avx2 avx512f avx512_vnni avx512_bf16", ["AVX2", "AVX-512", "VNNI (int8)", "BF16"]),
        ("fp asimd asimdhp i8mm bf16", ["BF16", "NEON", "FP16", "I8MM (int8)"]),
        ("fpu sse", []),
    ],
)
def test_cpu_features_are_read_from_the_flags(monkeypatch: pytest.MonkeyPatch, flags: str, expected: list[str]) -> None:
    monkeypatch.setattr(doctor, "_read", lambda path: f"flags : {flags}\n" if path == "/proc/cpuinfo" else "")
    assert doctor._cpu_features() == expected


def test_jetson_board_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    board = "NVIDIA Jetson AGX Orin Developer Kit"
    monkeypatch.setattr(doctor, "_read", lambda path: f"{board}\0" if "device-tree" in str(path) else "")
    assert findings()["nvidia device"].value == board
