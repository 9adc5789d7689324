"""RSMamba as a scene classifier: a state space model over the patches of an image in three orders.

"RSMamba: Remote Sensing Image Classification with State Space Model", arXiv 2403.19654 (GRSL 2024). The encoder
(`rsvl.modules.encoders.rsmamba`), the mean of its tokens, a norm, one linear layer. Training, published: 500 epochs on
224×224 with AutoAugment, Mixup and CutMix, label smoothing 0.1, AdamW with 5e-4 and weight decay 0.05, cosine; F1 of
94.84 (b), 95.02 (l) and 95.18 % (h) on RESISC45.

The full presets are of the published sizes, with RESISC45's 45 classes and its mean and deviation. The tiny one takes
EuroSAT's 64×64 images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor, nn

from rsvl.modules.bases.classification import EUROSAT_MEAN, EUROSAT_STD, ClassificationModel, classification_spec
from rsvl.modules.encoders.rsmamba import BASE, HUGE, LARGE, RSMambaEncoder, RSMambaSizes, is_rsmamba
from rsvl.modules.layers.mamba import KEEP_FP32, MambaSizes
from rsvl.registry import register
from rsvl.runtime.manifest import ImageSpec

_RESISC45_MEAN = (0.368028, 0.381182, 0.343786)
_RESISC45_STD = (0.145499, 0.135751, 0.132164)


@dataclass(frozen=True)
class Preset:
    """Sizes of an RSMamba.

    Attributes:
        sizes: of the encoder.
        image_size: side of the square input in pixels.
        mean: of each channel, 0…1.
        std: of each channel.
        classes: as many logits, until training counts the data's classes.
    """

    sizes: RSMambaSizes
    image_size: int = 224
    mean: tuple[float, ...] = _RESISC45_MEAN
    std: tuple[float, ...] = _RESISC45_STD
    classes: int = 45


TINY = Preset(RSMambaSizes(8, MambaSizes(96, 192, 6)), 64, EUROSAT_MEAN, EUROSAT_STD, classes=10)


@register(
    "rsmamba",
    presets={"rsmamba-b": Preset(BASE), "rsmamba-l": Preset(LARGE), "rsmamba-h": Preset(HUGE), "rsmamba-tiny": TINY},
)
class RSMamba(ClassificationModel):
    """The model, built from a preset; its one graph is image, from images [B, 3, S, S] to logits [B, C]."""

    keep_fp32 = MappingProxyType({"image_encoder.layers.*.mixer.state": KEEP_FP32})

    def __init__(self, name: str, preset: Preset) -> None:
        super().__init__()
        image = ImageSpec(preset.image_size, preset.mean, preset.std, resize="bicubic")
        paper = "RSMamba: Remote Sensing Image Classification with State Space Model"
        self.spec = classification_spec(name, paper, image, preset.classes)
        self.image_encoder = RSMambaEncoder(preset.sizes, preset.image_size)
        self.norm = nn.LayerNorm(preset.sizes.mixer.width, self.image_encoder.norm.eps)
        self.head = nn.Linear(preset.sizes.mixer.width, preset.classes)

    def encode_image(self, image: Tensor) -> tuple[Tensor]:
        """See `ClassificationModel`."""
        return (self.head(self.norm(self.image_encoder.tokens(image).mean(1))),)

    def class_layer(self) -> tuple[str, nn.Linear]:
        """See `ClassificationModel`."""
        return "head", self.head

    @classmethod
    def reads(cls, state: Mapping[str, Tensor]) -> bool:
        """See `ExportableModel`: the authors' checkpoints."""
        return is_rsmamba(state) and "head.fc.weight" in state

    def published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """See `ExportableModel`."""
        if not self.reads(state):
            return None
        encoder = self.image_encoder.published(state) or {}
        found = {f"image_encoder.{key}": value for key, value in encoder.items()}
        for key, value in state.items():
            if key.startswith("backbone.ln2."):
                found[key.replace("backbone.ln2", "norm")] = value
            elif not key.startswith("backbone."):
                found[key.replace("head.fc.", "head.")] = value
        return found
