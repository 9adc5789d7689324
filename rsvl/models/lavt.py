"""LAVT: words enter each stage of Swin through pixel–word attention and a language gate.

Yang et al., "LAVT: Language-Aware Vision Transformer for Referring Image Segmentation", CVPR 2022 (public code:
yz93/LAVT-RIS). What all models of this family share, and what was chosen for the tiny presets, is in
`rsvl.modules.bases.early_fusion`. Training: AdamW, 5e-5, weight decay 0.01, polynomial decay, 40 epochs.
"""

from __future__ import annotations

from torch import Tensor, nn

from rsvl.modules.bases.early_fusion import TINY, EarlyFusionSegmenter, Preset
from rsvl.modules.layers.pixel_word import PWAM, LanguageGate
from rsvl.modules.losses.masks import weighted_cross_entropy
from rsvl.registry import register


@register("lavt", presets={"lavt": Preset(), "lavt-tiny": Preset(**TINY)})
class LAVT(EarlyFusionSegmenter):
    """The network of Figure 2.

    Args:
        name: the preset's name.
        preset: its sizes.
    """

    paper = "LAVT: Language-Aware Vision Transformer for Referring Image Segmentation (CVPR 2022)"

    def __init__(self, name: str, preset: Preset) -> None:
        super().__init__(name, preset)
        widths = preset.swin.widths
        self.pwam = nn.ModuleList(PWAM(width, preset.bert.width) for width in widths)
        self.gates = nn.ModuleList(LanguageGate(width) for width in widths[:-1])  # nothing reads the last stage's

    def fuse(self, index: int, x: Tensor, text: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """PWAM gives F_i to the decoder; the gate lets some of it into the stage's own tokens V_i."""
        words, padding = text
        fused = self.pwam[index](x, words, padding)
        if index < len(self.gates):
            x = x + self.gates[index](fused)
        return fused, x, text

    def paper_loss(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Cross-entropy with class weights 0.9 and 1.1."""
        return weighted_cross_entropy(logits, masks)
