"""CADFormer: words and pixels guide each other in every stage, and the decoder attends to the words again.

Liu, Jiang and Zhang, "CADFormer: Fine-Grained Cross-Modal Alignment and Decoding Transformer for Referring Remote
Sensing Image Segmentation", IEEE JSTARS 2025 (public code: zxk688/CADFormer). Equation numbers are that paper's. What
all models of this family share is in `rsvl.modules.bases.early_fusion`. Training: AdamW, 5e-5, weight decay 0.01,
polynomial decay, 40 epochs.

The released code is another computation than the paper's text, in eight places (docs/models.md). Both are here:
`ReleasedCADFormer` (the preset `cadformer`) reads the released checkpoints, `PaperCADFormer` (`cadformer-paper` and
`cadformer-tiny`, whose shipped weights it has) follows the text. Between alignment and decoding the stages of both
interact as in RMSIN (CIM): it is in the public code, not in the text.

Where the text is open, `PaperCADFormer` has what meets the parameters and the operations of Table VI, which the
released code does not (its decoder alone has twice the operations that the table leaves for it):

* "Language features from different stages" (IV.A): BERT's layers are shared out between the stages. L_i has passed the
  first i quarters of them, and eq. 9 changes it before the next quarter. The text graph ends where the first stage
  starts. (The released code names the layers 3, 6, 9, 12 for this and then passes BERT's embeddings on alone.)
* V_i in eq. 6 is the stage's output, and one VGLVA belongs to each stage.
* The decoder gets V'_i of eq. 3, after the gate. Padding words are left out of every softmax and of the words' norm.
* Seg works in 512 channels, as the decoders that it extends do, and "aligned in dimensions with language features"
  (IV.C) is a linear layer each way around the transformer decoder layer (8 heads, 2048 hidden, as PyTorch's).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.modules.bases.early_fusion import TINY, EarlyFusionSegmenter
from rsvl.modules.bases.early_fusion import Preset as BasePreset
from rsvl.modules.encoders.bert import BERT_BASE
from rsvl.modules.key_rules import Rules
from rsvl.modules.layers.attention import Attention, padding_bias
from rsvl.modules.layers.cross_scale import CROSS_SCALE_KEYS, CIMBlock, Computation, CrossScale
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


class ReleasedWordPixelAttention(WordPixelAttention):
    """Attention of words to pixels as it is in the released code, whose weights were trained with it.

    The queries are multiplied with the padding bias. A word's become zero: it attends to all pixels alike, and what it
    gets is the mean of a map that is instance-normed, which is zero. Padding attends to hardly more than one pixel. The
    last norm is over all tokens, so that what padding attended to reaches the words through their mean and variance.
    """

    def forward(self, words: Tensor, x: Tensor, bias: Tensor) -> Tensor:
        """As `WordPixelAttention`."""
        query = self.query(words).float() * bias.float()[:, :, None]  # beyond the range of float16
        value = instance_norm(self.value(x)).float()
        attended = attend(query, instance_norm(self.key(x)).float(), value).to(words.dtype)
        return instance_norm(self.out(attended))


class VGLVA(nn.Module):
    """Vision-guided language–vision alignment (IV.B.2, Figure 4b).

    Args:
        words: channels of the words.
        attention: of the words to the pixels.
    """

    def __init__(self, words: int, attention: WordPixelAttention) -> None:
        super().__init__()
        self.project = nn.Linear(words, words)
        self.attention = attention
        self.merge = nn.Linear(words, words)
        self.gate = LanguageGate(words)

    def forward(self, words: Tensor, x: Tensor, padding: Tensor) -> Tensor:
        """Words [B, T, D], pixels [B, N, C] and the words' padding bias [B, T] → L'_i [B, T, D] (equations 6–8)."""
        aligned = self.attention(words, x, padding) * F.gelu(self.project(words))
        return self.gate(F.gelu(self.merge(aligned)))


class TransformerLayer(nn.Module):
    """Transformer(·, L_5) of equation 11: a transformer decoder layer with the words as memory.

    Args:
        width: channels of the map; where it is not that of the words, a linear layer leads there and one back.
        words: channels of the words; the layer works in as many.
        heads: its attention heads.
        hidden: the hidden width of its feed-forward layer.
    """

    def __init__(self, width: int, words: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.enter, self.leave = (
            nn.Linear(*sizes) if width != words else nn.Identity() for sizes in ((width, words), (words, width))
        )
        self.self_attention, self.cross_attention = Attention(words, heads), Attention(words, heads)
        self.feed_forward = nn.Sequential(nn.Linear(words, hidden), nn.ReLU(), nn.Linear(hidden, words))
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(words) for _ in range(3))
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor, words: Tensor, padding: Tensor | None) -> Tensor:
        """A map [B, C, H, W], words [B, T, D] and their padding bias [B, T], None to attend to it → [B, C, H, W]."""
        tokens = self.enter(x.flatten(2).transpose(1, 2))
        tokens = self.norm1(tokens + self.dropout(self.self_attention(tokens, tokens)))
        tokens = self.norm2(tokens + self.dropout(self.cross_attention(tokens, words, padding)))
        tokens = self.norm3(tokens + self.dropout(self.feed_forward(tokens)))
        return self.leave(tokens).transpose(1, 2).unflatten(2, x.shape[-2:])


class CADFormer(EarlyFusionSegmenter):
    """The network of Figure 3: SMGAM (LGVLA and VGLVA) in four stages, TCMD.

    Args:
        name: the preset's name.
        preset: its sizes.

    Attributes:
        computation: of CIM.
        attention: that of the words to the pixels.
        gated: how many stages add what their pixels attend to, gated, to their tokens.
    """

    paper = "CADFormer: Fine-Grained Cross-Modal Alignment and Decoding Transformer (IEEE JSTARS 2025)"
    rotated = True
    computation: ClassVar[Computation]
    attention: ClassVar[type[WordPixelAttention]]
    gated: ClassVar[int]

    def __init__(self, name: str, preset: Preset) -> None:
        super().__init__(name, preset)
        widths, words = preset.swin.widths, preset.bert.width
        self.lgvla = nn.ModuleList(PWAM(width, words) for width in widths)
        self.gates = nn.ModuleList(LanguageGate(width) for width in widths[: self.gated])
        self.vglva = nn.ModuleList(VGLVA(words, self.attention(words, width)) for width in widths)
        self.cim = CrossScale(widths, [CIMBlock(widths, self.image_encoder.sides[-1], computation=self.computation)])
        self.transformers = nn.ModuleList(
            TransformerLayer(width, words, *preset.transformer) for width in preset.decoder[:-1]
        )

    def refine(self, levels: list[Tensor], text: tuple[Tensor, ...]) -> list[Tensor]:
        """CIM."""
        return self.cim(levels)

    def decode(self, levels: list[Tensor], text: tuple[Tensor, ...]) -> Tensor:
        """TCMD (equations 10–12): a transformer layer that attends to L_5 follows the first two Seg blocks."""
        *first, last = self.decoder.blocks
        x = levels[-1]
        for seg, transformer, level in zip(first, self.transformers, levels[-2:0:-1], strict=True):
            x = transformer(seg(x, level), *self.memory(text))
        return last(x, levels[0])

    @abstractmethod
    def memory(self, text: tuple[Tensor, ...]) -> tuple[Tensor, Tensor | None]:
        """What the decoder attends to: the words [B, T, D] and the bias [B, T] that hides padding, or None."""

    def paper_loss(self, logits: Tensor, masks: Tensor) -> Tensor:
        """0.9 cross-entropy + 0.1 Dice (equation 13; class weights 0.9 and 1.1 as in the public code)."""
        return cross_entropy_and_dice(logits, masks)


@register(
    "cadformer",
    presets={"cadformer-paper": Preset(), "cadformer-tiny": Preset(**TINY, transformer=(4, 256))},
)
class PaperCADFormer(CADFormer):
    """CADFormer by the paper's text; what was chosen where it is open is said at the top of the file."""

    computation = "paper"
    attention = WordPixelAttention
    gated = 4

    @classmethod
    def reads(cls, state: Mapping[str, Tensor]) -> bool:
        """Nobody has released checkpoints of this computation."""
        return False

    def encode_text(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """L_1 [B, T, D]: the words after BERT's first layers; and the padding bias [B, T]."""
        padding = padding_bias(tokens != self.spec.words.pad)
        return self._understand(0, self.text_encoder.embed(tokens), padding), padding

    def fuse(
        self, index: int, entering: Tensor, x: Tensor, text: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """SMGAM: V'_i = Gate(LGVLA) is added to the pixels (eq. 5), L'_i = VGLVA to the words (eq. 9)."""
        words, padding = text
        if index:
            words = self._understand(index, words, padding)
        refined = self.gates[index](self.lgvla[index](x, words, padding))
        words = words + self.vglva[index](words, x, padding)
        return refined, x + refined, (words, padding)

    def memory(self, text: tuple[Tensor, ...]) -> tuple[Tensor, Tensor | None]:
        """The words without their padding."""
        return text[0], text[1]

    def _understand(self, index: int, words: Tensor, padding: Tensor) -> Tensor:
        """Passes the words [B, T, D] through stage `index`'s share of BERT's layers."""
        count, stages = self.preset.bert.layers, len(self.preset.swin.depths)
        return self.text_encoder.layers(words, padding, index * count // stages, (index + 1) * count // stages)


RELEASED = Preset(decoder=(768, 768, 768), bert=replace(BERT_BASE, layers=0))
"""The decoder is as wide as the words, and of BERT nothing runs but the embeddings."""

_RELEASED: Rules = (
    (r"^backbone\.layers\.(\d)\.fusion\.", r"lgvla.\1."),
    (r"^backbone\.layers\.([012])\.res_gate\.", r"gates.\1.mlp."),
    (r"^backbone\.layers\.(\d)\.vglva\.\1\.", r"vglva.\1."),
    (r"^backbone\.layers\.(\d)\.res_gates2\.\1\.", r"vglva.\1.gate.mlp."),
    (r"^backbone\.cim\.", "cim."),
    *CROSS_SCALE_KEYS,
    (
        r"^classifier\.transformer_fusion([12])\.transformer_model\.layers\.0\.",
        lambda m: f"transformers.{int(m[1]) - 1}.",
    ),
    (r"^(transformers\..*)\.self_attn\.", r"\1.self_attention."),
    (r"^(transformers\..*)\.multihead_attn\.", r"\1.cross_attention."),
    (r"^(transformers\..*)\.in_proj_", r"\1.query&key_value."),
    (r"^(transformers\..*)\.out_proj\.", r"\1.out."),
    (r"^(transformers\..*)\.linear1\.", r"\1.feed_forward.0."),
    (r"^(transformers\..*)\.linear2\.", r"\1.feed_forward.2."),
)


@register("cadformer", presets={"cadformer": RELEASED})
class ReleasedCADFormer(CADFormer):
    """CADFormer as its released code computes it, and as its released checkpoints want it."""

    computation = "released"
    attention = ReleasedWordPixelAttention
    gated = 3
    gives_patches = True
    released_parts = frozenset({"backbone.cim.", "classifier.transformer_fusion1."})
    released_keys = _RELEASED
    unread = (
        r"^backbone\.layers\.\d\.(vglva|res_gates2|visual_gate|visual_residual|norms)\.|"
        r"^backbone\.layers\.3\.res_gate\.|^classifier\.transformer_fusion[12]\.decoder_layer\.|"
        r"^text_encoder\.bert\.encoder\."
    )

    def encode_text(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """BERT's embeddings of the words [B, T, D], and the padding bias [B, T]."""
        return self.text_encoder.embed(tokens), padding_bias(tokens != self.spec.words.pad)

    def fuse(
        self, index: int, entering: Tensor, x: Tensor, text: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """SMGAM: LGVLA goes to the decoder and, gated, to the pixels; the words attend to what entered the stage."""
        words, padding = text
        aligned = self.lgvla[index](x, words, padding)
        if index < len(self.gates):
            x = x + self.gates[index](aligned)
        return aligned, x, (words + self.vglva[index](words, entering, padding), padding)

    def memory(self, text: tuple[Tensor, ...]) -> tuple[Tensor, Tensor | None]:
        """The words and their padding alike."""
        return text[0], None
