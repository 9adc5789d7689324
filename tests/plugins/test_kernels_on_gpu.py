"""The kernels on a GPU, compiled by NVRTC and started as the plugins start them, without TensorRT, against float64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from rsvl.plugins import driver
from rsvl.plugins.operation import Operation
from rsvl.runtime.errors import MissingComponentError
from tests.support.kernel_cases import CONV_CASES, DTYPES, MOE_CASES, ConvCase, MoeCase, check, described, output_shape
from tests.support.lora_moe_case import LoRAMoECase

LARGE = {  # as in the models, several waves of blocks
    "256 channels, 60×60": ConvCase(2, 3, 256, 256, 60, 60),
    "512 channels, 30×30": ConvCase(1, 3, 512, 512, 30, 30),
    "900×768, eight experts of rank 16": MoeCase(LoRAMoECase((900,), 768, 768, 8, 16, 2)),
}
CASES: dict[str, ConvCase | MoeCase] = {
    **{f"RotatedConv2d: {name}": case for name, case in CONV_CASES.items()},
    **{f"LoRAMoE: {name}": case for name, case in MOE_CASES.items()},
    **LARGE,
}


class Gpu:
    """The first GPU's primary context, and memory on it that lasts for one start."""

    def __init__(self) -> None:
        from cuda.bindings import driver as cuda

        self.cuda = cuda
        self.done(cuda.cuInit(0))
        self.device = self.done(cuda.cuDeviceGet(0))
        self.done(cuda.cuCtxSetCurrent(self.done(cuda.cuDevicePrimaryCtxRetain(self.device))))

    def done(self, result: tuple[Any, ...]) -> Any:
        status, *values = result
        assert status == self.cuda.CUresult.CUDA_SUCCESS, status
        return values[0] if values else None

    def close(self) -> None:
        self.done(self.cuda.cuDevicePrimaryCtxRelease(self.device))

    def start(self, operation: Operation, inputs: list[torch.Tensor]) -> torch.Tensor:
        """Copies there, starts the kernel on a stream of its own, and copies back what was NaN before."""
        cuda, done = self.cuda, self.done
        y = torch.full(output_shape(operation, inputs), torch.nan, dtype=inputs[0].dtype)
        tensors = [*(tensor.contiguous() for tensor in inputs), y]
        sizes = [tensor.numel() * tensor.element_size() for tensor in tensors]
        addresses = [int(done(cuda.cuMemAlloc(size))) for size in sizes]
        stream = done(cuda.cuStreamCreate(cuda.CUstream_flags.CU_STREAM_NON_BLOCKING))
        try:
            for address, tensor, size in zip(addresses, tensors, sizes, strict=True):
                done(cuda.cuMemcpyHtoD(address, tensor.data_ptr(), size))
            kernels = driver.kernels(type(operation), driver.current_device())
            kernels.start(operation.launch(described(inputs)), addresses, int(stream))
            done(cuda.cuStreamSynchronize(stream))
            done(cuda.cuMemcpyDtoH(y.data_ptr(), addresses[-1], sizes[-1]))
        finally:
            done(cuda.cuStreamDestroy(stream))
            for address in addresses:
                done(cuda.cuMemFree(address))
        return y


@pytest.fixture(scope="module")
def gpu() -> Iterator[Gpu]:
    try:
        driver.require()
    except MissingComponentError as error:
        pytest.skip(str(error))
    made = Gpu()
    yield made
    made.close()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_kernel_on_the_gpu_equals_the_definition(gpu: Gpu, name: str, dtype: str) -> None:
    torch_dtype, tolerance = DTYPES[dtype]
    check(*CASES[name].run(gpu.start, torch_dtype), tolerance)


def test_same_launch_gives_the_same_bits_again(gpu: Gpu) -> None:
    for case in (LARGE["512 channels, 30×30"], LARGE["900×768, eight experts of rank 16"]):
        (first, _), (second, _) = case.run(gpu.start, torch.float16), case.run(gpu.start, torch.float16)
        assert torch.equal(first, second)
