"""What the parts measure, on the CPU and on an emulator in place of the GPU: forms agree, wrong ones are found."""

from __future__ import annotations

import ctypes
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch

import rsvl.plugins
from rsvl.benchmarks.laboratory.gpu import bundles, cd2fsan, kernels, operations
from rsvl.benchmarks.laboratory.gpu.ctypes_driver import CtypesDriver, open_driver
from rsvl.benchmarks.laboratory.kernel_cases import CASES
from rsvl.benchmarks.laboratory.operation_cases import low_rank_experts, rotated_convolution
from rsvl.plugins.driver import Kernels
from rsvl.plugins.lora_moe import LoRAMoE
from rsvl.plugins.operation import Launch
from rsvl.runtime.backends.tensorrt.plugins import GROUP
from rsvl.runtime.errors import MissingComponentError, RsvlError, VerificationError
from tests.support.kernel_emulator import build_emulator

CPU = torch.device("cpu")
SMALL = {operation: {"odd sizes, batch": cases["odd sizes, batch"]} for operation, cases in CASES.items()}


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return build_emulator(tmp_path_factory.mktemp("emulator"))


@pytest.fixture
def compiled(emulator: ctypes.CDLL) -> kernels.Compiled:
    """The kernels on the emulator, started by ctypes as on a GPU without cuda-python."""
    interface = CtypesDriver(emulator)
    return cache(partial(Kernels, device=0, interface=interface, compiler=lambda source, capability: b""))


def test_kernels_started_by_ctypes_agree_with_float64(compiled: kernels.Compiled) -> None:
    rows = list(kernels.compare(compiled, CPU, SMALL))
    assert [(row["operation"], row["dtype"]) for row in rows] == [
        (operation, dtype) for operation in SMALL for dtype in ("float32", "float16", "bfloat16")
    ]
    assert all(0 < row["worst error"] <= row["tolerance"] and not row["failed cases"] for row in rows)


def test_kernel_that_computes_something_else_fails_the_part_after_all_rows(
    compiled: kernels.Compiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Kernels.start

    def wrong(self: Kernels, launch: Launch, addresses: list[int], stream: int) -> None:
        start(self, launch, addresses, stream)
        if launch.kernel == "lora_moe_float16":
            ctypes.memset(addresses[-1], 0, 2)

    monkeypatch.setattr(Kernels, "start", wrong)
    rows: list[dict[str, Any]] = []
    with pytest.raises(VerificationError, match="1 cases exceed their tolerance against float64"):
        for row in kernels.compare(compiled, CPU, SMALL):
            rows.append(row)
    assert len(rows) == 3 * len(SMALL)
    assert [row["dtype"] for row in rows if row["failed cases"]] == ["float16"]


def test_driver_by_ctypes_names_what_the_driver_refuses(emulator: ctypes.CDLL) -> None:
    interface = CtypesDriver(emulator)
    status, handle = interface.cuLibraryLoadData(b"code")
    assert (status.value, status.name) == (0, "CUDA_SUCCESS")
    status, _ = interface.cuLibraryGetKernel(handle, b"no_such_kernel")
    assert (status.value, status.name) == (500, "CUDA_ERROR_NOT_FOUND")
    refused, _ = interface.cuDeviceGetAttribute(97, 1)
    assert refused.name == "CUDA_ERROR_INVALID_VALUE"


def test_machine_without_a_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", absent)
    with pytest.raises(MissingComponentError, match=r"NVIDIA's driver for CUDA 12 .*libcuda\.so\.1"):
        open_driver()


def test_source_that_nvcc_refuses_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, emulator: Any) -> None:
    nvcc = tmp_path / "nvcc"
    nvcc.write_text("#!/bin/sh\necho 'x.cu(3): error: identifier is undefined\nmore' >&2; exit 1\n")
    nvcc.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(kernels, "open_driver", lambda: CtypesDriver(emulator))
    with pytest.raises(RsvlError, match=r"nvcc cannot compile lora_moe.cu for sm_87: x.cu\(3\): error") as error:
        kernels.compiled_by(kernels.NVCC, tmp_path)(LoRAMoE)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("case", "forms"),
    [
        (rotated_convolution(6, 5), ["plain layer", "rsvl", "grid sampling", "plugin kernel"]),
        (low_rank_experts(7, 6, 3, 2), ["plain layer", "rsvl", "plugin kernel"]),
    ],
    ids=["rotated convolution", "experts"],
)
def test_every_form_of_an_operation_computes_the_same(case: Any, forms: list[str], compiled: kernels.Compiled) -> None:
    rows = list(operations.compare(case, 2, torch.float32, CPU, compiled, with_compile=False, rounds=2))
    assert [row["form"] for row in rows] == forms
    assert rows[0]["relative to the plain layer"] == 1.0 and rows[0]["error"] is None
    assert all(0 <= row["error"] < 1e-5 and row["ms, CUDA graph"] > 0 for row in rows[1:])


def test_form_that_fails_leaves_the_others(compiled: kernels.Compiled, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: Any, **options: Any) -> Any:
        def call(*inputs: Any) -> None:
            raise RuntimeError("no C++ compiler\nat all")

        return call

    monkeypatch.setattr(torch, "compile", fails)
    case = low_rank_experts(7, 6, 3, 2)
    rows = list(operations.compare(case, 1, torch.float32, CPU, None, with_compile=True, rounds=1))
    assert rows[0]["form"] == "rsvl, torch.compile" and rows[0]["not measured"] == "no C++ compiler"
    assert [row["form"] for row in rows[1:]] == ["plain layer", "rsvl"]


def test_precisions_of_a_model_are_compared_with_the_first() -> None:
    model = cd2fsan.build("cd2fsan-tiny", CPU)
    known = cd2fsan.precisions(CPU)
    exact, rounded = cd2fsan.measure(model, 1, CPU, {name: known[name] for name in ("float32", "bfloat16")}, rounds=1)
    assert exact["difference from float32"] == 0 and exact["p50 ms"] > 0 and exact["GPU memory, MB"] is None
    assert 1e-5 < rounded["difference from float32"] < 0.2


def test_bundle_is_timed_and_held_to_its_golden_outputs(whole_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = list(bundles.timed(whole_bundle, "cpu", rounds=2))
    assert [(row["provider"], row["batch"]) for row in rows] == [("cpu", 1), ("cpu", 8)]
    assert all(row["images per second"] > 0 for row in rows) and "IoU" in rows[0]["agreement"]
    golden = bundles.read_golden
    monkeypatch.setattr(
        bundles, "read_golden", lambda opened: (golden(opened)[0], {k: -v for k, v in golden(opened)[1].items()})
    )
    with pytest.raises(VerificationError, match="outputs differ from those"):
        list(bundles.timed(whole_bundle, "cpu", rounds=1))


def test_plugins_are_listed_as_an_installed_rsvl_lists_them(tmp_path: Path) -> None:
    (listed,) = metadata.distributions(path=[str(bundles.list_plugins(tmp_path))])
    assert {(entry.group, entry.name, entry.load()) for entry in listed.entry_points} == {
        (GROUP, name, rsvl.plugins.register) for name in rsvl.plugins.OPERATIONS
    }
