"""CADFormer: words and pixels guide each other in every stage, and the decoder attends to the words again.

Liu, Jiang and Zhang, "CADFormer: Fine-Grained Cross-Modal Alignment and Decoding Transformer for Referring Remote
Sensing Image Segmentation", IEEE JSTARS 2025 (public code: zxk688/CADFormer). Equation numbers are that paper's. What
all models of this family share is in `rsvl.modules.bases.early_fusion`. Training: AdamW, 5e-5, weight decay 0.01,
polynomial decay, 40 epochs.

Where the paper is open or its public code differs, this was chosen; with it, parameters and operations both meet Table
VI, which the public code does not (its decoder alone has twice the operations that the table leaves for it):

* "Language features from different stages" (IV.A): BERT's layers are shared out between the stages. L_i has passed the
  first i quarters of them, and eq. 9 changes it before the next quarter. The text graph ends where the first stage
  starts. (The public code names the layers 3, 6, 9, 12 for this and then passes BERT's embeddings on alone.)
* V_i in eq. 6 is the stage's output, and one VGLVA belongs to each stage.
* The decoder gets V'_i of eq. 3, after the gate. Padding words are left out of every softmax and of the words' norm.
* Between alignment and decoding the stages interact as in RMSIN (CIM): it is in the public code, not in the text.
* Seg works in 512 channels, as the decoders that it extends do, and "aligned in dimensions with language features"
  (IV.C) is a linear layer each way around the transformer decoder layer (8 heads, 2048 hidden, as PyTorch's).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.modules.bases.early_fusion import TINY, EarlyFusionSegmenter
from rsvl.modules.bases.early_fusion import Preset as BasePreset
from rsvl.modules.layers.attention import Attention, padding_bias
from rsvl.modules.layers.cross_scale import CIMBlock, CrossScale
from rsvl.modules.layers.pixel_word import PWAM, LanguageGate, attend, instance_norm
from rsvl.modules.losses.masks import cross_entropy_and_dice
from rsvl.registry import register


@dataclass(frozen=True)
class Preset(BasePreset):
    """Sizes of a CADFormer.

    Attributes:
        transformer: heads and hidden width of the decoder's transformer layers.
    """

    transformer: tuple[int, int] = (8, 2048)


class WordPixelAttention(nn.Module):
    """Attention of words to pixels (equation 6).

    Args:
        words: channels of the words and of the result.
        width: channels of the pixels.
    """

    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(words, words)
        self.key = nn.Linear(width, words)
        self.value = nn.Linear(width, words)
        self.out = nn.Linear(words, words)

    def forward(self, words: Tensor, x: Tensor, bias: Tensor) -> Tensor:
        """Words [B, T, D], pixels [B, N, C] and the words' padding bias [B, T] → [B, T, D]."""
        attended = attend(self.query(words), instance_norm(self.key(x)), instance_norm(self.value(x)))
        return instance_norm(self.out(attended), bias)


class VGLVA(nn.Module):
    """Vision-guided language–vision alignment (IV.B.2, Figure 4b).

    Args:
        words: channels of the words.
        width: channels of the pixels.
    """

    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(words, words)
        self.attention = WordPixelAttention(words, width)
        self.merge = nn.Linear(words, words)
        self.gate = LanguageGate(words)

    def forward(self, words: Tensor, x: Tensor, padding: Tensor) -> Tensor:
        """Words [B, T, D], pixels [B, N, C] and the words' padding bias [B, T] → L'_i [B, T, D] (equations 6–8)."""
        aligned = self.attention(words, x, padding) * F.gelu(self.project(words))
        return self.gate(F.gelu(self.merge(aligned)))


class TransformerLayer(nn.Module):
    """Transformer(·, L_5) of equation 11: a transformer decoder layer with the words as memory.

    Args:
        width: channels of the map.
        words: channels of the words; the layer works in as many.
        heads, hidden: its heads and the hidden width of its feed-forward layer.
    """

    def __init__(self, width: int, words: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(width, words), nn.Linear(words, width)
        self.self_attention, self.cross_attention = Attention(words, heads), Attention(words, heads)
        self.feed_forward = nn.Sequential(nn.Linear(words, hidden), nn.ReLU(), nn.Linear(hidden, words))
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(words) for _ in range(3))
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor, words: Tensor, padding: Tensor) -> Tensor:
        """A map [B, C, H, W], words [B, T, D] and their padding bias [B, T] → [B, C, H, W]."""
        tokens = self.enter(x.flatten(2).transpose(1, 2))
        tokens = self.norm1(tokens + self.dropout(self.self_attention(tokens, tokens)))
        tokens = self.norm2(tokens + self.dropout(self.cross_attention(tokens, words, padding)))
        tokens = self.norm3(tokens + self.dropout(self.feed_forward(tokens)))
        return self.leave(tokens).transpose(1, 2).unflatten(2, x.shape[-2:])


@register("cadformer", presets={"cadformer": Preset(), "cadformer-tiny": Preset(**TINY, transformer=(4, 256))})
class CADFormer(EarlyFusionSegmenter):
    """The network of Figure 3: SMGAM (LGVLA and VGLVA) in four stages, TCMD.

    Args:
        name: the preset's name.
        preset: its sizes.
    """

    paper = "CADFormer: Fine-Grained Cross-Modal Alignment and Decoding Transformer (IEEE JSTARS 2025)"
    rotated = True

    def __init__(self, name: str, preset: Preset) -> None:
        super().__init__(name, preset)
        widths, words = preset.swin.widths, preset.bert.width
        self.lgvla = nn.ModuleList(PWAM(width, words) for width in widths)
        self.gates = nn.ModuleList(LanguageGate(width) for width in widths)
        self.vglva = nn.ModuleList(VGLVA(words, width) for width in widths)
        self.cim = CrossScale(widths, [CIMBlock(widths, self.image_encoder.sides[-1])])
        self.transformers = nn.ModuleList(
            TransformerLayer(width, words, *preset.transformer) for width in preset.decoder[:-1]
        )

    def encode_text(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """L_1 [B, T, D]: the words after BERT's first layers; and the padding bias [B, T]."""
        padding = padding_bias(tokens != self.spec.words.pad)
        return self._understand(0, self.text_encoder.embed(tokens), padding), padding

    def fuse(self, index: int, x: Tensor, text: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """SMGAM: V'_i = Gate(LGVLA) is added to the pixels (eq. 5), L'_i = VGLVA to the words (eq. 9)."""
        words, padding = text
        if index:
            words = self._understand(index, words, padding)
        refined = self.gates[index](self.lgvla[index](x, words, padding))
        words = words + self.vglva[index](words, x, padding)
        return refined, x + refined, (words, padding)

    def refine(self, levels: list[Tensor], text: tuple[Tensor, ...]) -> list[Tensor]:
        """CIM."""
        return self.cim(levels)

    def decode(self, levels: list[Tensor], text: tuple[Tensor, ...]) -> Tensor:
        """TCMD (equations 10–12): a transformer layer that attends to L_5 follows the first two Seg blocks."""
        words, padding = text
        *first, last = self.decoder.blocks
        x = levels[-1]
        for seg, transformer, level in zip(first, self.transformers, levels[-2:0:-1], strict=True):
            x = transformer(seg(x, level), words, padding)
        return last(x, levels[0])

    def paper_loss(self, logits: Tensor, masks: Tensor) -> Tensor:
        """0.9 cross-entropy + 0.1 Dice (equation 13; class weights 0.9 and 1.1 as in the public code)."""
        return cross_entropy_and_dice(logits, masks)

    def _understand(self, index: int, words: Tensor, padding: Tensor) -> Tensor:
        """Passes the words [B, T, D] through stage `index`'s share of BERT's layers."""
        count, stages = self.preset.bert.layers, len(self.preset.swin.depths)
        return self.text_encoder.layers(words, padding, index * count // stages, (index + 1) * count // stages)
