"""RMSIN: several receptive fields and pixel–word attention in each stage, cross-scale interaction, rotated kernels.

Liu et al., "Rotated Multi-Scale Interaction Network for Referring Remote Sensing Image Segmentation", CVPR 2024 (public
code: Lsan2401/RMSIN). What all models of this family share is in `rsvl.modules.bases.early_fusion`. Training: AdamW,
3e-5, weight decay 0.01, polynomial decay, 40 epochs.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.modules.bases.early_fusion import TINY, EarlyFusionSegmenter, Preset
from rsvl.modules.layers.cross_scale import CIMBlock, CrossScale
from rsvl.modules.layers.pixel_word import PWAM, LanguageGate
from rsvl.modules.losses.masks import cross_entropy_and_dice
from rsvl.registry import register


class VariousReceptive(nn.Module):
    """Weighs every pixel by convolutions of several receptive fields over the channels' mean."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = _Branches(), _Branches()

    def forward(self, x: Tensor) -> Tensor:
        """A map [B, C, H, W] → [B, C, H, W]."""
        return x * self.second(F.relu(self.first(x.mean(1, keepdim=True)))).sigmoid()


class _Branches(nn.Module):
    """A pixel itself, a 1×1 and a 1×1–3×3 convolution, each batch-normalised, summed; one channel."""

    def __init__(self) -> None:
        super().__init__()
        self.same = nn.BatchNorm2d(1)
        self.conv1 = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1))
        self.conv3 = nn.Sequential(
            nn.Conv2d(1, 1, 1, bias=False),
            nn.BatchNorm2d(1),
            nn.Conv2d(1, 1, 3, padding=1, bias=False),
            nn.BatchNorm2d(1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.same(x) + self.conv1(x) + self.conv3(x)


@register("rmsin", presets={"rmsin": Preset(), "rmsin-tiny": Preset(**TINY)})
class RMSIN(EarlyFusionSegmenter):
    """The network of Figure 3: intra-scale interaction (IIM), cross-scale interaction (CIM), oriented decoder (OAD).

    Args:
        name: the preset's name.
        preset: its sizes.
    """

    paper = "RMSIN: Rotated Multi-Scale Interaction Network for Referring Remote Sensing Image Segmentation (CVPR 2024)"
    rotated = True

    def __init__(self, name: str, preset: Preset) -> None:
        super().__init__(name, preset)
        widths = preset.swin.widths
        self.pwam = nn.ModuleList(PWAM(width, preset.bert.width) for width in widths)
        inner = widths[:-1]  # nothing reads the last stage's
        self.gates = nn.ModuleList(LanguageGate(width) for width in inner)
        self.various_receptive = nn.ModuleList(VariousReceptive() for _ in inner)
        self.visual_gates = nn.ModuleList(LanguageGate(width) for width in inner)
        self.cim = CrossScale(widths, [CIMBlock(widths, self.image_encoder.sides[-1])])

    def fuse(self, index: int, x: Tensor, text: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """IIM: the stage's tokens take up what the words say and what wider receptive fields see, both gated."""
        words, padding = text
        fused = self.pwam[index](x, words, padding)
        if index < len(self.gates):
            seen = self.various_receptive[index](self.image_encoder.map(index, x)).flatten(2).transpose(1, 2)
            x = x + self.gates[index](fused) + self.visual_gates[index](seen)
        return fused, x, text

    def refine(self, levels: list[Tensor], text: tuple[Tensor, ...]) -> list[Tensor]:
        """CIM."""
        return self.cim(levels)

    def paper_loss(self, logits: Tensor, masks: Tensor) -> Tensor:
        """0.9 cross-entropy (class weights 0.9 and 1.1) + 0.1 Dice."""
        return cross_entropy_and_dice(logits, masks)
