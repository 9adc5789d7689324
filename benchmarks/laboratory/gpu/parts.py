"""The table of parts, in the order in which they run: quick and certain ones first."""

from __future__ import annotations

from dataclasses import dataclass

_HERE = "rsvl.benchmarks.laboratory.gpu"


@dataclass(frozen=True)
class Part:
    """One part of the run.

    Attributes:
        name: as ``--part`` takes it.
        title: what it measures.
        function: ``package.module:function``, called with a folder that all parts share and with `arguments`; yields
            rows, dictionaries of JSON types.
        limit_s: time limit in seconds; the rows yielded before it are kept.
        arguments: further arguments of the function.
    """

    name: str
    title: str
    function: str
    limit_s: float
    arguments: tuple[str, ...] = ()


PARTS = (
    Part("machine", "The machine", f"{_HERE}.machine:describe", 30),
    Part("kernels-nvrtc", "Plugin kernels by NVRTC, against float64", f"{_HERE}.kernels:check", 60, ("nvrtc",)),
    Part("kernels-nvcc", "Plugin kernels by nvcc, against float64", f"{_HERE}.kernels:check", 60, ("nvcc",)),
    Part("operations", "Operations beside cuDNN and cuBLAS", f"{_HERE}.operations:measure", 120),
    Part("eager", "CD2FSAN in PyTorch eager", f"{_HERE}.cd2fsan:eager", 60),
    Part("compile", "CD2FSAN by torch.compile", f"{_HERE}.cd2fsan:compiled", 150),
    Part("export", "CD2FSAN exported", f"{_HERE}.bundles:export", 180),
    Part("onnxruntime-cuda", "CD2FSAN in ONNX Runtime, CUDA", f"{_HERE}.bundles:run", 60, ("cuda",)),
    Part("tensorrt", "CD2FSAN by TensorRT engines", f"{_HERE}.bundles:run_engines", 120, ("tensorrt",)),
    Part("tensorrt-plugins", "… with the plugins", f"{_HERE}.bundles:run_engines", 120, ("tensorrt", "plugins")),
    Part("tensorrt-rtx", "CD2FSAN by TensorRT for RTX engines", f"{_HERE}.bundles:run_engines", 120, ("tensorrt_rtx",)),
    Part("onnxruntime-tensorrt", "CD2FSAN in ONNX Runtime, TensorRT", f"{_HERE}.bundles:run", 120, ("tensorrt",)),
    Part(
        "onnxruntime-rtx", "CD2FSAN in ONNX Runtime, TensorRT for RTX", f"{_HERE}.bundles:run", 90, ("nvtensorrtrtx",)
    ),
)
