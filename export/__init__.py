"""PyTorch → ONNX: graphs, precision, verification, the bundle.

`export(model, output, precision="fp16")` writes a bundle and verifies it against PyTorch; `QuantizationSettings`
says how one in int8 or fp8 is calibrated and chosen.
"""

from rsvl.runtime.errors import MissingComponentError

try:
    import onnx  # noqa: F401
    import onnxscript  # noqa: F401
    import torch  # noqa: F401
except ImportError as error:
    raise MissingComponentError(f"exporting needs {error.name}: pip install 'rsvl[export]'") from error

from rsvl.export.pipeline import Exported, export
from rsvl.export.quantization import Images, QuantizationSettings
from rsvl.export.verify import Verification
from rsvl.runtime.progress import Progress

__all__ = ["Exported", "Images", "Progress", "QuantizationSettings", "Verification", "export"]
