"""A scene classifier of your own: two pathways fused level by level, then a mixture of experts.

From this folder:

    rsvl export --model scene_moe:build --fp16
    rsvl run scene-moe-fp16.bundle harbour.jpg
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rsvl.modules.bases.exportable import ExportableModel
from rsvl.modules.layers.attention import Attention
from rsvl.ops import lora_moe, top_k_gate
from rsvl.runtime.manifest import GraphSpec, ImageSpec, ModelSpec, TensorSpec

CLASSES = ("airport", "farmland", "forest", "harbour", "residential")
WIDTHS = (32, 64, 64)
EXPERTS, RANK, TOP_K = 4, 8, 2


class Level(nn.Module):
    """Halves a map: local textures by convolution, global context by attention, both fused."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.local = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, stride=2, padding=1), nn.BatchNorm2d(channels), nn.GELU()
        )
        self.pool = nn.AvgPool2d(4)
        self.context = Attention(channels, channels // 32)
        self.fuse = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, Cin, H, W] → [B, C, H/2, W/2]."""
        local = self.local(x)
        tokens = local.flatten(2).transpose(1, 2)
        context = self.context(tokens, self.pool(local).flatten(2).transpose(1, 2))
        return self.fuse(torch.cat([local, context.transpose(1, 2).unflatten(2, local.shape[-2:])], dim=1))


class SceneMoE(ExportableModel):
    """Classifies an image by experts that its own features choose."""

    def __init__(self) -> None:
        super().__init__()
        image = ImageSpec(size=64, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
        self.spec = ModelSpec(
            name="scene-moe",
            task="scene-classification",
            paper="in the style of AFM-Net",
            images=(image,),
            text=None,
            graphs=(
                GraphSpec(
                    "classify",
                    (TensorSpec("image", ("batch", 3, image.size, image.size)),),
                    (TensorSpec("class_logits", ("batch", len(CLASSES))),),
                ),
            ),
        )
        self.levels = nn.Sequential(*(Level(a, b) for a, b in zip((3, *WIDTHS[:-1]), WIDTHS, strict=True)))
        self.norm = nn.LayerNorm(WIDTHS[-1])
        self.router = nn.Linear(WIDTHS[-1], EXPERTS, bias=False)
        self.weight = nn.Parameter(torch.randn(len(CLASSES), WIDTHS[-1]) / 8)
        self.a = nn.Parameter(torch.randn(EXPERTS, RANK, WIDTHS[-1]) / 8)
        self.b = nn.Parameter(torch.randn(EXPERTS, len(CLASSES), RANK) / 8)

    def classify(self, image: Tensor) -> tuple[Tensor]:
        """The graph `classify`: [B, 3, S, S] → logits [B, classes]."""
        pooled = self.norm(self.levels(image).mean(dim=(2, 3)))
        gate = top_k_gate(self.router(pooled), TOP_K)
        return (lora_moe(pooled, self.weight, self.a, self.b, gate),)

    def forward(self, image: Tensor) -> Tensor:
        """Logits [B, classes]."""
        return self.classify(image)[0]


def build() -> SceneMoE:
    """What ``--model scene_moe:build`` names; load your own weights here."""
    torch.manual_seed(0)
    return SceneMoE().eval()
