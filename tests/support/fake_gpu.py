"""A GPU made of main memory, and a TensorRT on it that runs engines by ONNX Runtime: for tests where there is none.

Work that is ordered on a stream is done when the stream is waited for, not before: memory that is used again too early
shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime

from rsvl.runtime.backends.cuda.cuda_device import explain
from rsvl.runtime.backends.cuda.device import Foreign, Gpu
from rsvl.runtime.backends.tensorrt.tensorrt_api import EngineTensor, Network, TensorRTApi
from rsvl.runtime.errors import DeviceError, EngineError, MissingComponentError

ORIN = Gpu("Orin", (8, 7), "12.6", 8 << 30)
TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64}


class FakeDevice:
    """A `rsvl.runtime.backends.cuda.device.Device`.

    Attributes:
        limit: bytes of memory; more is out of memory.
        gone: whether the GPU has stopped answering.
        copies: how often memory was copied, by kind.
        captured, launched: how many CUDA graphs were.
    """

    def __init__(self, gpu: Gpu = ORIN, limit: int = 1 << 30) -> None:
        self.gpu, self.limit, self.gone = gpu, limit, False
        self.blocks: dict[int, np.ndarray] = {}
        self.pinned: list[np.ndarray] = []
        self.copies = {"up": 0, "down": 0, "across": 0}
        self.captured = self.launched = 0
        self.queue: list[Callable[[], None]] = []
        self._recording: list[Callable[[], None]] | None = None
        self._next = 4096

    def create_stream(self) -> int:
        return 7

    def destroy_stream(self, stream: int) -> None:
        self._check()

    def synchronize(self, stream: int) -> None:
        self._check()
        while self.queue:
            self.queue.pop(0)()

    def allocate(self, size: int) -> int:
        self._check()
        if sum(block.size for block in self.blocks.values()) + size > self.limit:
            raise DeviceError(explain("cudaErrorMemoryAllocation", "cudaMalloc"))
        address, self._next = self._next, -(-(self._next + 2 * size) // 4096) * 4096 + 4096
        self.blocks[address] = np.full(size, 0xEE, np.uint8)
        return address

    def free(self, address: int) -> None:
        self._check()
        del self.blocks[address]

    def allocate_pinned(self, size: int) -> np.ndarray:
        self.pinned.append(np.full(size, 0xEE, np.uint8))
        return self.pinned[-1]

    def free_pinned(self, memory: np.ndarray) -> None:
        self.pinned = [block for block in self.pinned if block is not memory]

    def upload(self, address: int, pinned: np.ndarray, stream: int) -> None:
        self.copies["up"] += 1
        self.order(lambda: self.write(address, pinned))

    def download(self, pinned: np.ndarray, address: int, stream: int) -> None:
        self.copies["down"] += 1
        self.order(lambda: np.copyto(pinned, self.memory(address, pinned.size)))

    def copy(self, target: int, source: int, size: int, stream: int) -> None:
        self.copies["across"] += 1
        self.order(lambda: self.write(target, self.memory(source, size).copy()))

    def view(self, array: Any, stream: int) -> Foreign | None:
        if not hasattr(array, "__cuda_array_interface__"):
            return None
        facts = array.__cuda_array_interface__
        return Foreign(facts["data"][0], tuple(facts["shape"]), np.dtype(facts["typestr"]), array)

    def capture(self, work: Callable[[], None], stream: int) -> Any:
        self._check()
        self.captured += 1
        self._recording = []
        work()
        recorded, self._recording = self._recording, None
        return recorded

    def launch(self, graph: Any, stream: int) -> None:
        self._check()
        self.launched += 1
        self.queue.extend(graph)

    def destroy_graph(self, graph: Any) -> None:
        graph.clear()

    def order(self, work: Callable[[], None]) -> None:
        self._check()
        (self.queue if self._recording is None else self._recording).append(work)

    def memory(self, address: int, size: int) -> np.ndarray:
        """Device memory from an address inside a block on; fails outside of all."""
        for start, block in self.blocks.items():
            if start <= address and address + size <= start + block.size:
                return block[address - start :][:size]
        raise AssertionError(f"{size} bytes at {address} are no device memory")

    def write(self, address: int, data: np.ndarray) -> None:
        self.memory(address, data.nbytes)[...] = data.view(np.uint8).reshape(-1)

    def _check(self) -> None:
        if self.gone:
            raise DeviceError(explain("cudaErrorLaunchFailure", "cudaStreamSynchronize"))


class FakeArray:
    """Another library's array on the fake GPU."""

    def __init__(self, device: FakeDevice, array: np.ndarray, offset: int = 0) -> None:
        self.address = device.allocate(array.nbytes + offset) + offset
        device.write(self.address, array)
        self.shape, self.dtype = array.shape, array.dtype

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"shape": self.shape, "typestr": self.dtype.str, "data": (self.address, False), "version": 3}


class FakeTensorRTApi(TensorRTApi):
    """A TensorRT whose engines are the ONNX files.

    Attributes:
        built: names of the files that were built, in order.
        timings: the timing cache that each of them was given.
        loaded: how many engines were loaded.
        refuses: what it says of the next engine that it shall load; empty to load it.
    """

    def __init__(self, device: FakeDevice, backend: str = "tensorrt", version: str = "10.3.0") -> None:
        super().__init__(SimpleNamespace(__name__=backend, __version__=version))  # type: ignore[arg-type]
        self.device, self.built, self.timings, self.loaded, self.refuses = device, [], [], 0, ""

    def build(  # type: ignore[override]
        self, onnx: Path, profile: Mapping[str, Any], plugins: Sequence[str] = (), **options: Any
    ) -> Network:
        self.built.append(onnx.name)
        self.timings.append(options["timing_cache"])
        max_batch = min((shapes[2][0] for shapes in profile.values()), default=0)
        return Network(max_batch.to_bytes(4, "little") + onnx.read_bytes(), layers=3, timing_cache=b"timings")

    def load_plugins(self, names: Sequence[str]) -> None:
        if names:
            raise MissingComponentError(f"no TensorRT plugin {names}")

    def load(self, engine: bytes) -> Any:
        if self.refuses:
            reason, self.refuses = self.refuses, ""
            raise EngineError(reason)
        self.loaded += 1
        return FakeEngine(self.device, engine)


class FakeEngine:
    """An engine: the maximum batch in 4 bytes, and an ONNX file.

    Attributes:
        caches: what its contexts were given of an earlier session's kernels, in order.
    """

    def __init__(self, device: FakeDevice, engine: bytes) -> None:
        self.device, self.max_batch = device, int.from_bytes(engine[:4], "little")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(engine[4:], options, providers=["CPUExecutionProvider"])
        self.caches: list[bytes] = []

    @property
    def tensors(self) -> list[EngineTensor]:
        sides = ((True, self.session.get_inputs()), (False, self.session.get_outputs()))
        return [
            EngineTensor(t.name, side, shape_of(t), np.dtype(TYPES[t.type])) for side, tensors in sides for t in tensors
        ]

    def max_shape(self, name: str) -> tuple[int, ...]:
        return (self.max_batch,)

    def context(self, runtime_cache: bytes = b"") -> Any:
        self.caches.append(runtime_cache)
        return FakeContext(self)


class FakeContext:
    """Runs an engine on tensors in the fake GPU's memory."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine, self.inputs, self.outputs = engine, {}, {}

    def set_input(self, name: str, shape: tuple[int, ...], address: int) -> None:
        assert address % 256 == 0
        if shape[0] > self.engine.max_batch:
            raise EngineError(f"the engine was not built for {name} {list(shape)}")
        self.inputs[name] = (shape, address)

    def output_shape(self, name: str) -> tuple[int, ...]:
        (tensor,) = (t for t in self.engine.session.get_outputs() if t.name == name)
        batch = next(iter(self.inputs.values()))[0][0]
        return tuple(batch if size == -1 else size for size in shape_of(tensor))

    def set_output(self, name: str, address: int) -> None:
        assert address % 256 == 0
        self.outputs[name] = address

    def execute(self, stream: int) -> None:
        inputs, outputs, device = dict(self.inputs), dict(self.outputs), self.engine.device

        def work() -> None:
            feeds = {}
            for tensor in self.engine.session.get_inputs():
                shape, address = inputs[tensor.name]
                dtype = np.dtype(TYPES[tensor.type])
                size = prod(shape) * dtype.itemsize
                feeds[tensor.name] = device.memory(address, size).view(dtype).reshape(shape).copy()
            for name, value in zip(outputs, self.engine.session.run(list(outputs), feeds), strict=True):
                device.write(outputs[name], np.ascontiguousarray(value))

        device.order(work)

    def runtime_cache(self) -> bytes:
        return b"compiled"


def shape_of(tensor: Any) -> tuple[int, ...]:
    """An ONNX Runtime tensor's shape with -1 where it is dynamic."""
    return tuple(size if isinstance(size, int) else -1 for size in tensor.shape)
