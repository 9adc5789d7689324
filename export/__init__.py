"""PyTorch → ONNX: graphs, precision, verification, the bundle.

`export(model, output, precision="fp16")` writes a bundle and verifies it against PyTorch. `quantize(bundle, output,
"int8", settings)` writes a float32 bundle in 8 bits and verifies it against that bundle; it needs no PyTorch.
`QuantizationSettings` says how 8 bits are calibrated and chosen.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rsvl.runtime.errors import MissingComponentError
from rsvl.runtime.extras import install

if TYPE_CHECKING:
    from rsvl.export.bundle import Exported
    from rsvl.export.pipeline import export
    from rsvl.export.quantization import Images, QuantizationSettings, quantize
    from rsvl.export.verify import Verification

__all__ = ["Exported", "Images", "QuantizationSettings", "Verification", "export", "quantize"]

_MODULES = {
    "Exported": "rsvl.export.bundle",
    "Images": "rsvl.export.quantization",
    "QuantizationSettings": "rsvl.export.quantization",
    "Verification": "rsvl.export.verify",
    "export": "rsvl.export.pipeline",
    "quantize": "rsvl.export.quantization",
}


def __getattr__(name: str) -> Any:
    # Imported on first use: quantizing needs no PyTorch.
    if name not in _MODULES:
        raise AttributeError(f"module 'rsvl.export' has no attribute {name!r}")
    try:
        return getattr(import_module(_MODULES[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("rsvl"):
            raise
        extra = "export" if name == "export" else "quantize"
        raise MissingComponentError(f"{name}() needs {error.name}: {install(extra)}") from error
