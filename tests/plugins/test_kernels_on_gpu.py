"""The kernels on a GPU, compiled and started as the plugins do it, without TensorRT, against float64."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rsvl.benchmarks.laboratory.gpu.device import first_gpu
from rsvl.benchmarks.laboratory.gpu.kernels import NVCC, NVRTC, check, compiled_by, starter
from rsvl.benchmarks.laboratory.kernel_cases import CASES
from rsvl.runtime.errors import MissingComponentError


@pytest.mark.parametrize("compiler", [NVRTC, NVCC])
def test_kernels_on_the_gpu_equal_the_definition(compiler: str, tmp_path: Path) -> None:
    try:
        rows = list(check(tmp_path, compiler))
    except MissingComponentError as error:
        pytest.skip(str(error))
    assert len(rows) == 6 and not any(row["failed cases"] for row in rows)


def test_same_launch_gives_the_same_bits_again(tmp_path: Path) -> None:
    try:
        start = starter(compiled_by(NVRTC, tmp_path), first_gpu())
    except MissingComponentError as error:
        pytest.skip(str(error))
    large = [case for cases in CASES.values() for name, case in cases.items() if "×" in name]
    for case in large:
        (first, _), (second, _) = case.run(start, torch.float16), case.run(start, torch.float16)
        assert torch.equal(first, second)
