"""rsvl: remote-sensing vision-language models from PyTorch to a running ONNX or TensorRT bundle.

`rsvl.load("cd2fsan-tiny")` gives the PyTorch model (needs the `train` extra); `rsvl.runtime.load("x.bundle")` runs an
exported bundle without PyTorch.

Examples:
    >>> import rsvl
    >>> model = rsvl.load("cd2fsan-tiny")
    >>> model.spec.task, model.spec.image.size
    ('referring-segmentation', 256)
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rsvl.checkpoints import load

__version__ = "0.1.0"
__all__ = ["__version__", "load"]

# ONNX Runtime reads this when it is imported. Every module of ours is imported after this one, so it is never too late.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> Any:
    # Imported on first use: `import rsvl` must stay light for the runtime, which has no torch.
    if name == "load":
        from rsvl.checkpoints import load

        return load
    raise AttributeError(f"module 'rsvl' has no attribute {name!r}")
