"""FIANet: pixels are aligned with the whole sentence, with the words for the object and with those for its place.

Lei et al., "Exploring Fine-Grained Image-Text Alignment for Referring Remote Sensing Image Segmentation", IEEE TGRS
2025 (public code: Shaosifan/FIANet). What all models of this family share is in `rsvl.modules.bases.early_fusion`.
Training: AdamW, 3e-5, weight decay 0.01, polynomial decay, 40 epochs.

Chosen:

* The public code finds the object's words by a dataset's class names and the place's by a part-of-speech tagger
  before the model runs. Here `OBJECT_WORDS` and `PLACE_WORDS` mark both in the tokenizer's own vocabulary, so that the
  text graph takes tokens and nothing else. Without such words all of them are taken.
* What the decoder gets of a stage is all that FIAM adds to it. The public code gives it the context branch alone, so
  that the last stage's other branches never train; its unused linear layer after the object branch is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from rsvl.modules.bases.early_fusion import TINY, EarlyFusionSegmenter
from rsvl.modules.bases.early_fusion import Preset as BasePreset
from rsvl.modules.layers.attention import padding_bias
from rsvl.modules.layers.cross_scale import CrossScale
from rsvl.modules.layers.pixel_word import PWAM, LanguageGate, PixelWordAttention
from rsvl.modules.losses.masks import cross_entropy_and_dice
from rsvl.registry import register
from rsvl.runtime.manifest import TensorSpec

#: Words of the class names of RRSIS-D, RefSegRS and of `rsvl synth`.
OBJECT_WORDS = """
    aircraft airplane airport area barge baseball basketball bikeway boat bridge building bus car chimney container
    court crane dam diamond expressway factory farmland field forest golf ground harbor harbour helicopter helipad
    house impervious jetty lake lot marking overpass parking pier plane pond pool railway river road roundabout
    runway service ship sidewalk soccer stadium station storage surface swimming tank tanker tennis toll track
    trailer train tree truck van vegetation vehicle vessel warehouse windmill yacht
"""
PLACE_WORDS = """
    above along at background beneath below beside between bottom by center centre close corner down east edge far
    farthest foreground front in inside left leftmost lower middle near nearest next north northeast northwest on
    opposite out outside over right rightmost side south southeast southwest surrounded top toward towards under up
    upper west
"""


@dataclass(frozen=True)
class Preset(BasePreset):
    """Sizes of a FIANet.

    Attributes:
        enhancements: blocks of the text-aware multi-scale enhancement: 3 for RRSIS-D, 1 for RefSegRS.
    """

    enhancements: int = 3


class FIAM(nn.Module):
    """Fine-grained image-text alignment of a stage: context, object and place branches, channel modulation.

    Args:
        width: channels of the pixels.
        words: channels of the words.
    """

    def __init__(self, width: int, words: int) -> None:
        super().__init__()
        self.context = PWAM(width, words)
        self.context_gate = LanguageGate(width)
        self.object = PixelWordAttention(width, words)
        self.object_gate = LanguageGate(width)
        self.place = PixelWordAttention(width, words)
        self.place_conv = nn.Conv2d(2, 1, 3, padding=1, bias=False)
        self.channels = nn.Sequential(
            nn.Linear(width, width // 8), nn.ReLU(), nn.Linear(width // 8, width), nn.Sigmoid()
        )

    def forward(self, x: Tensor, side: int, text: tuple[Tensor, ...]) -> Tensor:
        """Tokens [B, N, C] of a side×side map and the text graph's features → [B, N, C], to be added to them."""
        words, padding, object_words, object_bias, place_words, place_bias = text
        context = self.context_gate(self.context(x, words, padding))
        placed = self.object_gate(self.object(x, object_words, object_bias))
        placed = placed * self._where(self.place(x, place_words, place_bias), side)
        return (context + placed) * self.channels(x.mean(1, keepdim=True))

    def _where(self, place: Tensor, side: int) -> Tensor:
        """How well each pixel's place fits, in (0, 1), [B, N, 1] for [B, N, C]."""
        fit = torch.stack([place.mean(2), place.amax(2)], dim=1).unflatten(2, (side, side))
        return self.place_conv(fit).sigmoid().flatten(2).transpose(1, 2)


class TextAwareBlock(nn.Module):
    """A block of the text-aware multi-scale enhancement (TMEM): attention to the words, feed-forward; pre-normalised.

    Args:
        width: channels of the pixels.
        words: channels of the words.
    """

    def __init__(self, width: int, words: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = PixelWordAttention(width, words)
        self.feed_forward = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, words: Tensor, padding: Tensor) -> Tensor:
        """A map [B, C, H, W], words [B, T, D] and their padding bias [B, T] → [B, C, H, W]."""
        tokens = x.flatten(2).transpose(1, 2)
        tokens = tokens + self.attention(self.norm1(tokens), words, padding)
        tokens = tokens + self.feed_forward(self.norm2(tokens))
        return tokens.transpose(1, 2).unflatten(2, x.shape[-2:])


@register("fianet", presets={"fianet": Preset(), "fianet-tiny": Preset(**TINY, enhancements=1)})
class FIANet(EarlyFusionSegmenter):
    """The network of Figure 2: FIAM in four stages, TMEM, a top-down decoder.

    Args:
        name: the preset's name.
        preset: its sizes.
    """

    paper = "FIANet: Exploring Fine-Grained Image-Text Alignment for RRSIS (IEEE TGRS 2025)"
    is_object: Tensor
    is_place: Tensor

    def __init__(self, name: str, preset: Preset) -> None:
        super().__init__(name, preset)
        widths, words = preset.swin.widths, preset.bert.width
        self.fiam = nn.ModuleList(FIAM(width, words) for width in widths)
        self.tmem = CrossScale(widths, [TextAwareBlock(sum(widths) // 4, words) for _ in range(preset.enhancements)])

    def text_features(self) -> list[TensorSpec]:
        """Words and bias thrice: of the whole sentence, of the object's words, of the place's."""
        words, bias = super().text_features()
        return [
            TensorSpec(f"{part}{tensor.name}", tensor.shape)
            for part in ("", "object_", "place_")
            for tensor in (words, bias)
        ]

    def encode_text(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """BERT's words [B, T, D] and their bias [B, T] when it reads all words, the object's only, the place's only."""
        is_word = tokens != self.spec.words.pad
        parts = [is_word, *(_or_all(is_word & marks[tokens], is_word) for marks in (self.is_object, self.is_place))]
        biases = [padding_bias(part) for part in parts]
        return tuple(tensor for bias in biases for tensor in (self.text_encoder(tokens, bias), bias))

    def fuse(self, index: int, x: Tensor, text: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """FIAM."""
        aligned = self.fiam[index](x, self.image_encoder.sides[index], text)
        return aligned, x + aligned, text

    def refine(self, levels: list[Tensor], text: tuple[Tensor, ...]) -> list[Tensor]:
        """TMEM, which attends to the whole sentence."""
        return self.tmem(levels, *text[:2])

    def paper_loss(self, logits: Tensor, masks: Tensor) -> Tensor:
        """0.9 cross-entropy (class weights 0.9 and 1.1) + 0.1 Dice."""
        return cross_entropy_and_dice(logits, masks)

    def on_tokenizer_changed(self, tokenizer_json: str) -> None:
        """Marks the ids of `OBJECT_WORDS` and `PLACE_WORDS`."""
        for name, words in (("is_object", OBJECT_WORDS), ("is_place", PLACE_WORDS)):
            marks = word_marks(tokenizer_json, words, self.preset.bert.vocabulary)
            self.register_buffer(name, marks, persistent=False)


def _or_all(part: Tensor, is_word: Tensor) -> Tensor:
    """The part of each sentence's words, bool [B, T]; all its words where it has none."""
    return part | (is_word & ~part.any(1, keepdim=True))


def word_marks(tokenizer_json: str, words: str, vocabulary: int) -> Tensor:
    """Marks the ids that are a word, or its plural, by themselves; a word of several pieces is not marked.

    Args:
        tokenizer_json: the tokenizer as `tokenizers` JSON text.
        words: lower-case words with white space between them.
        vocabulary: number of ids.

    Returns:
        bool [vocabulary].
    """
    tokenizer = Tokenizer.from_str(tokenizer_json)
    unknown = tokenizer.token_to_id("[UNK]")
    marks = torch.zeros(vocabulary, dtype=torch.bool)
    for word in words.split():
        for form in (word, f"{word}s", f"{word}es"):
            ids = tokenizer.encode(form, add_special_tokens=False).ids
            if len(ids) == 1 and ids[0] != unknown:
                marks[ids] = True
    return marks
