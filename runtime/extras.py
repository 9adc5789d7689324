"""The optional packages: what rsvl lacks without each, which extra installs it, and how large it is.

`rsvl doctor` and the errors about missing modules read this one table; a test holds pyproject.toml to it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

#: The Python from which on an extra can be installed, where that is not the light runtime's. pyproject.toml's markers
#: say it for each package.
_FIRST_PYTHON = {"train": (3, 11), "export": (3, 11)}


@dataclass(frozen=True)
class Component:
    """An optional package.

    Attributes:
        module: its import name.
        extra: the extra of rsvl that installs it; empty for a package that no extra has.
        without: what is missing without it.
        distributions: those that bring the module, any of which will do; the first is the one to install.
        mb: megabytes on disk, with what it alone brings along, measured on Linux x86-64 (PyTorch: the CPU build); None
            where they were not measured.
    """

    module: str
    extra: str
    without: str
    distributions: tuple[str, ...]
    mb: int | None = None

    @property
    def name(self) -> str:
        """The name of the package to install."""
        return self.distributions[0]

    @property
    def remedy(self) -> str:
        """The command that installs it."""
        return install(self.extra) if self.extra else f"pip install {self.name}"


COMPONENTS = (
    Component(
        "onnxruntime",
        "",
        "no bundle can be run",
        ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-migraphx"),
        69,
    ),
    Component("rasterio", "geo", "GeoTIFFs lose their georeference and are read whole", ("rasterio",), 113),
    Component("pyogrio", "geo", "no GeoPackage", ("pyogrio",), 103),
    Component("pyarrow", "geo", "no GeoParquet", ("pyarrow",), 170),
    Component("shapely", "geo", "no simplified outlines", ("shapely",), 10),
    Component("fastapi", "serve", "no rsvl serve", ("fastapi",), 19),
    Component("uvicorn", "serve", "no rsvl serve", ("uvicorn",), 1),
    Component("python_multipart", "serve", "no rsvl serve", ("python-multipart",), 1),
    Component("prometheus_client", "serve", "no rsvl serve", ("prometheus-client",), 1),
    Component("ray", "ray", "no rsvl run --ray", ("ray",), 245),
    Component("pycocotools", "eval", "no evaluation on datasets with run-length masks", ("pycocotools",), 2),
    Component("torch", "train", "no training and no export", ("torch",), 861),
    Component("transformers", "train", "no training and no export", ("transformers",), 119),
    Component("safetensors", "train", "no training and no export", ("safetensors",), 1),
    Component("accelerate", "train", "no training", ("accelerate",), 4),
    Component(
        "cv2",
        "train",
        "no synthetic scenes and no training on them",
        ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
        160,
    ),
    Component("onnx", "export", "no export and no quantization", ("onnx",), 28),
    Component("onnxscript", "export", "no export", ("onnxscript",), 7),
    Component("onnx_ir", "export", "no export", ("onnx-ir",), 2),
    Component("matplotlib", "bench", "no plots of measurements", ("matplotlib",), 75),
    Component("pynvml", "", "no GPU memory and energy in rsvl bench", ("nvidia-ml-py",)),
    Component("tensorrt", "tensorrt", "no TensorRT engines", ("tensorrt", "tensorrt-cu12", "tensorrt-cu13")),
    Component(
        "tensorrt_rtx",
        "tensorrt-rtx",
        "no TensorRT for RTX engines",
        ("tensorrt-rtx-cu13", "tensorrt-rtx-cu12", "tensorrt-rtx"),
        244,
    ),
    Component("cuda.bindings", "tensorrt", "TensorRT engines cannot run", ("cuda-bindings",), 32),
    Component("cuda.core", "tensorrt", "TensorRT engines cannot run", ("cuda-core",), 17),
    Component("cuda.bindings.nvrtc", "plugins", "no TensorRT plugins from Python", ("cuda-bindings",), 32),
    Component("openvino", "openvino", "no --provider openvino", ("openvino",), 185),
)


def install(extra: str, python: Sequence[int] = sys.version_info[:2]) -> str:
    """The command that installs an extra; where this Python is too old for it, after the one that it takes."""
    command, first = f"pip install 'rsvl[{extra}]'", _FIRST_PYTHON.get(extra, (3, 0))
    if tuple(python) >= first:
        return command
    return "use Python {}.{} or later, and there {}".format(*first, command)


def find_component(module: str) -> Component | None:
    """The component that a module is, or is a part of; None for a module that is none of them."""
    parents = [component for component in COMPONENTS if f"{module}.".startswith(f"{component.module}.")]
    return max(parents, key=lambda component: len(component.module), default=None)


def remedy(module: str) -> str:
    """The command that installs a module of the table.

    Raises:
        KeyError: it is not in the table.
    """
    component = find_component(module)
    if component is None:
        raise KeyError(module)
    return component.remedy
