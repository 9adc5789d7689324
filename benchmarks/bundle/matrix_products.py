"""How fast one library multiplies matrices on this CPU, by number type.

    python -m rsvl.benchmarks.bundle.matrix_products onnxruntime 2

Each library runs in a process of its own: NumPy reads its number of threads from the environment when it starts, and
the libraries' idle threads would disturb each other.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from rsvl.runtime.backends.onnxruntime.providers import onnxruntime
from rsvl.runtime.protobuf import BYTES, VARINT, Field, write_fields

SIDE = 2048
ROUNDS = 5
LIBRARIES = ("numpy", "torch", "onnxruntime", "openvino")

_FLOAT, _UINT8, _INT8 = 1, 2, 3  # TensorProto.DataType


def measure(library: str, threads: int, side: int = SIDE) -> dict[str, float]:
    """Billions of multiplications and additions per second, by type, the best of several rounds.

    Args:
        library: one of `LIBRARIES`.
        threads: CPU threads; NumPy takes them from the environment.
        side: of the square matrices.

    Raises:
        ImportError: the library is not installed.
    """
    products = {"numpy": _numpy, "torch": _torch, "onnxruntime": _onnxruntime, "openvino": _openvino}[library]
    return {name: 2 * side**3 / best(run) / 1e9 for name, run in products(threads, side)}


def best(work: Callable[[], Any]) -> float:
    """Seconds of the fastest round, after one to warm up."""
    work()
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


Products = Iterator[tuple[str, Callable[[], Any]]]
"""Types, and what multiplies two matrices of each."""


def _numpy(threads: int, side: int) -> Products:
    a, b = _floats(side)
    yield "fp32", lambda: a @ b


def _torch(threads: int, side: int) -> Products:
    import torch

    torch.set_num_threads(threads)
    a, b = map(torch.from_numpy, _floats(side))
    yield "fp32", lambda: a @ b
    halves = a.bfloat16(), b.bfloat16()
    yield "bf16", lambda: halves[0] @ halves[1]
    integers = (127 * a).to(torch.int8), (127 * b).to(torch.int8)
    with suppress(RuntimeError):  # not on every CPU
        torch._int_mm(*integers)
        yield "int8", lambda: torch._int_mm(*integers)


def _onnxruntime(threads: int, side: int) -> Products:
    ort = onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    a, b = _floats(side)
    for name, operation, left, right in (
        ("fp32", "MatMul", a, b),
        ("int8", "MatMulInteger", (255 * a).astype(np.uint8), (127 * b).astype(np.int8)),
    ):
        session = ort.InferenceSession(product_graph(operation, left, right), options, ["CPUExecutionProvider"])
        yield name, partial(session.run, None, {"a": left})


def _openvino(threads: int, side: int) -> Products:
    from openvino import Core, Model, opset13

    core = Core()
    a, b = _floats(side)
    left = opset13.parameter(a.shape, np.float32, name="a")
    plain = Model([opset13.matmul(left, opset13.constant(b), False, False)], [left])
    rounded = opset13.fake_quantize(left, *map(opset13.constant, _scalars(0, 1, 0, 1)), 256)
    integers = opset13.convert(opset13.constant((127 * b).astype(np.int8)), "f32")
    scaled = opset13.multiply(integers, opset13.constant(np.float32(1 / 127)))
    quantized = Model([opset13.matmul(rounded, scaled, False, False)], [left])
    types = {"fp32": (plain, "f32"), "bf16": (plain, "bf16"), "int8": (quantized, "f32")}
    known = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    for name, (model, hint) in types.items():
        if name == "fp32" or name.upper() in known:
            settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads}
            request = core.compile_model(model, "CPU", settings).create_infer_request()
            yield name, partial(request.infer, [a], share_inputs=True, share_outputs=True)


def _floats(side: int) -> tuple[np.ndarray, np.ndarray]:
    a, b = (np.random.default_rng(seed).random((side, side), np.float32) for seed in (0, 1))
    return a, b


def _scalars(*values: float) -> list[np.ndarray]:
    return [np.array(value, np.float32) for value in values]


def product_graph(operation: str, left: np.ndarray, right: np.ndarray) -> bytes:
    """An ONNX model that multiplies its input ``a`` by a constant matrix; what multiplies integers gives int32.

    Args:
        operation: ``MatMul`` or ``MatMulInteger``.
        left: an example of ``a``.
        right: the constant.
    """
    types = {np.dtype(np.float32): _FLOAT, np.dtype(np.uint8): _UINT8, np.dtype(np.int8): _INT8}
    dims: list[Field] = [(1, VARINT, size) for size in right.shape]
    weight = write_fields([*dims, (2, VARINT, types[right.dtype]), (8, BYTES, b"b"), (9, BYTES, right.tobytes())])
    node = write_fields([(1, BYTES, b"a"), (1, BYTES, b"b"), (2, BYTES, b"y"), (4, BYTES, operation.encode())])
    ends = (11, "a", types[left.dtype]), (12, "y", _FLOAT if operation == "MatMul" else 6)
    graph: list[Field] = [(1, BYTES, node), (2, BYTES, b"product"), (5, BYTES, weight)]
    for number, name, kind in ends:
        shape = write_fields([(1, BYTES, b"")] * 2)  # two dimensions of any size
        tensor = write_fields([(1, BYTES, write_fields([(1, VARINT, kind), (2, BYTES, shape)]))])
        graph.append((number, BYTES, write_fields([(1, BYTES, name.encode()), (2, BYTES, tensor)])))
    opset = write_fields([(2, VARINT, 18)])
    return write_fields([(1, VARINT, 8), (7, BYTES, write_fields(graph)), (8, BYTES, opset)])


if __name__ == "__main__":
    try:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
    except ImportError:
        print("{}")  # it is not here
