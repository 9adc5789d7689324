"""LWGANet as a scene classifier: light grouped attention from scratch.

"LWGANet: A Lightweight Group Attention Backbone for Remote Sensing Visual Tasks", arXiv 2501.10040 (AAAI 2026). The
encoder (`rsvl.modules.encoders.lwganet`), the mean of its last map, one hidden layer. Training, published: 300 epochs
on 224×224, AdamW with 5e-4 and weight decay 0.05, cosine; 95.49 (L0), 95.70 (L1) and 96.17 % (L2) on NWPU-RESISC45.

The full presets are of the published sizes with RESISC45's 45 classes; a checkpoint of ImageNet's 1000 brings those.
The tiny one takes EuroSAT's 64×64 images, in patches of 2×2 so that its maps stay large enough to blur.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from rsvl.modules.bases.classification import EUROSAT_MEAN, EUROSAT_STD, ClassificationModel, classification_spec
from rsvl.modules.encoders.lwganet import L0, L1, L2, LWGANetEncoder, LWGANetSizes, is_lwganet
from rsvl.modules.encoders.swin import IMAGENET_MEAN, IMAGENET_STD
from rsvl.registry import register
from rsvl.runtime.manifest import ImageSpec


@dataclass(frozen=True)
class Preset:
    """Sizes of an LWGANet.

    Attributes:
        sizes: of the encoder.
        image_size: side of the square input in pixels.
        mean: of each channel, 0…1.
        std: of each channel.
        features: width of the hidden layer before the classes.
        classes: as many logits, until training counts the data's classes.
    """

    sizes: LWGANetSizes
    image_size: int = 224
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    features: int = 1280
    classes: int = 45


TINY = Preset(LWGANetSizes(24, (1, 1, 2, 1), patch=2), 64, EUROSAT_MEAN, EUROSAT_STD, features=256, classes=10)


@register(
    "lwganet",
    presets={"lwganet-l0": Preset(L0), "lwganet-l1": Preset(L1), "lwganet-l2": Preset(L2), "lwganet-tiny": TINY},
)
class LWGANet(ClassificationModel):
    """The model, built from a preset; its one graph is image, from images [B, 3, S, S] to logits [B, C]."""

    def __init__(self, name: str, preset: Preset) -> None:
        super().__init__()
        image = ImageSpec(preset.image_size, preset.mean, preset.std)
        paper = "LWGANet: A Lightweight Group Attention Backbone for Remote Sensing Visual Tasks"
        self.spec = classification_spec(name, paper, image, preset.classes)
        self.image_encoder = LWGANetEncoder(preset.sizes)
        self.features = nn.Sequential(
            nn.Linear(preset.sizes.widths[-1], preset.features, bias=False), preset.sizes.act()
        )
        self.head = nn.Linear(preset.features, preset.classes)

    def encode_image(self, image: Tensor) -> tuple[Tensor]:
        """See `ClassificationModel`."""
        return (self.head(self.features(self.image_encoder(image)[-1].mean((2, 3)))),)

    def class_layer(self) -> tuple[str, nn.Linear]:
        """See `ClassificationModel`."""
        return "head", self.head

    @classmethod
    def reads(cls, state: Mapping[str, Tensor]) -> bool:
        """See `ExportableModel`: the authors' classification checkpoints."""
        return is_lwganet(state) and "head.weight" in state

    def published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """See `ExportableModel`."""
        if not self.reads(state):
            return None
        encoder = self.image_encoder.published(state) or {}
        found = {f"image_encoder.{key}": value for key, value in encoder.items()}
        for key, value in state.items():
            if key == "avgpool_pre_head.1.weight":
                found["features.0.weight"] = value.flatten(1)
            elif not key.startswith(("Stem.", "stages.")):
                found[key] = value
        return found
