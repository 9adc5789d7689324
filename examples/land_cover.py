"""A segmenter of your own on one of rsvl's image encoders: LWGANet's maps, summed at one size, classified per pixel.

From this folder:

    rsvl export --model land_cover:build --encoder-weights lwganet_l0_e299.pth
    rsvl run land-cover-fp32.bundle harbour.jpg
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.modules.bases.exportable import ExportableModel
from rsvl.modules.encoders.lwganet import L0, LWGANetEncoder
from rsvl.runtime.manifest import GraphSpec, ImageSpec, ModelSpec, TensorSpec

CLASSES = ("water", "bare land", "grass", "forest", "road", "building")
WIDTH = 64


class LandCover(ExportableModel):
    """Gives each pixel a class, at a quarter of the image's side."""

    def __init__(self) -> None:
        super().__init__()
        image = ImageSpec(size=128, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
        side = image.size // L0.strides[0]
        self.spec = ModelSpec(
            name="land-cover",
            task="land-cover",
            paper="a segmenter on LWGANet's encoder",
            images=(image,),
            text=None,
            graphs=(
                GraphSpec(
                    "segment",
                    (TensorSpec("image", ("batch", 3, image.size, image.size)),),
                    (TensorSpec("class_logits", ("batch", len(CLASSES), side, side)),),
                ),
            ),
        )
        self.image_encoder = LWGANetEncoder(L0)  # --encoder-weights fills what has this name
        self.narrow = nn.ModuleList(nn.Conv2d(width, WIDTH, 1) for width in L0.widths)
        self.classify = nn.Sequential(
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.ReLU(), nn.Conv2d(WIDTH, len(CLASSES), 1)
        )

    def segment(self, image: Tensor) -> tuple[Tensor]:
        """The graph `segment`: [B, 3, S, S] → logits [B, classes, S / 4, S / 4]."""
        maps = [narrow(each) for narrow, each in zip(self.narrow, self.image_encoder(image), strict=True)]
        finest = maps[0].shape[2:]
        return (self.classify(sum(F.interpolate(each, size=finest, mode="bilinear") for each in maps)),)


def build() -> LandCover:
    """What ``--model land_cover:build`` names."""
    torch.manual_seed(0)
    return LandCover().eval()
