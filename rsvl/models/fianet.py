"""FIANet: pixels are aligned with the whole sentence, with the words for the object and with those for its place.

Lei et al., "Exploring Fine-Grained Image-Text Alignment for Referring Remote Sensing Image Segmentation", IEEE TGRS
2025 (public code: Shaosifan/FIANet). What all models of this family share is in `rsvl.modules.bases.early_fusion`.
Training: AdamW, 3e-5, weight decay 0.01, polynomial decay, 40 epochs.

This is what the released code computes. There the decoder gets a stage's context branch alone, and nothing reads the
last stage's other branches: they are left out. A sentence that names no object silences the object branch, and with it
the place's; one that names no place has all its words for it.

Before its model runs, the released code finds the object's words by the dataset's class names and the place's by a
part-of-speech tagger. Here a caller gives them as marks of the tokens; where none are given, `OBJECT_WORDS` and
`PLACE_WORDS` mark both in the tokenizer's own vocabulary, which is not the same (docs/models.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from rsvl.modules.bases.early_fusion import TINY, EarlyFusionSegmenter
from rsvl.modules.bases.early_fusion import Preset as BasePreset
from rsvl.modules.key_rules import Rules
from rsvl.modules.layers.attention import padding_bias
from rsvl.modules.layers.cross_scale import CROSS_SCALE_KEYS, CrossScale
from rsvl.modules.layers.pixel_word import PWAM, LanguageGate, PixelWordAttention
from rsvl.modules.losses.masks import cross_entropy_and_dice
from rsvl.registry import register
from rsvl.runtime.errors import CheckpointError
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
    """Fine-grained image-text alignment of a stage: object and place branches beside the context, channel modulation.

    Args:
        width: channels of the pixels.
        words: channels of the words.
    """

    def __init__(self, width: int, words: int) -> None:
        super().__init__()
        self.context_gate = LanguageGate(width)
        self.object = PixelWordAttention(width, words)
        self.object_gate = LanguageGate(width)
        self.place = PixelWordAttention(width, words)
        self.place_conv = nn.Conv2d(2, 1, 3, padding=1, bias=False)
        self.channels = nn.Sequential(
            nn.Linear(width, width // 8), nn.ReLU(), nn.Linear(width // 8, width), nn.Sigmoid()
        )

    def forward(self, x: Tensor, context: Tensor, side: int, text: tuple[Tensor, ...]) -> Tensor:
        """What is added to a stage's tokens.

        Args:
            x: the tokens of a side×side map [B, N, C].
            context: what they attend to in the whole sentence [B, N, C].
            side: of the map.
            text: the text graph's features.

        Returns:
            [B, N, C].
        """
        _, _, object_words, object_bias, place_words, place_bias = text
        named = (object_bias.amax(1) > -1).to(x.dtype)[:, None, None]  # whether there is a word for the object
        placed = self.object_gate(self.object(x, object_words, object_bias) * named)
        placed = placed * self._where(self.place(x, place_words, place_bias), side)
        return (self.context_gate(context) + placed) * self.channels(x.mean(1, keepdim=True))

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


_RELEASED: Rules = (
    (r"^backbone\.layers\.(\d)\.context_pixel_attn\.", r"context.\1."),
    (r"^backbone\.layers\.([012])\.context_tanh_gate\.", r"fiam.\1.context_gate.mlp."),
    (r"^backbone\.layers\.([012])\.object_position_align_blk\.(?!go_embedding)", r"fiam.\1."),
    (r"^(fiam\.\d)\.go_cross_attn\.", r"\1.object."),
    (r"^(fiam\.\d)\.sp_cross_attn\.", r"\1.place."),
    (r"^(fiam\.\d)\.go_tanh_gating\.", r"\1.object_gate.mlp."),
    (r"^(fiam\.\d)\.conv1\.", r"\1.place_conv."),
    (r"^backbone\.layers\.([012])\.fc1\.", r"fiam.\1.channels.0."),
    (r"^backbone\.layers\.([012])\.fc2\.", r"fiam.\1.channels.2."),
    (r"^backbone\.tmem\.", "tmem."),
    *CROSS_SCALE_KEYS,
    (r"^(tmem\.blocks\.\d)\.tma\.", r"\1.attention."),
    (r"^(tmem\.blocks\.\d)\.ff\.net\.0\.", r"\1.feed_forward.0."),
    (r"^(tmem\.blocks\.\d)\.ff\.net\.3\.", r"\1.feed_forward.2."),
)


@register("fianet", presets={"fianet": Preset(), "fianet-tiny": Preset(**TINY, enhancements=1)})
class FIANet(EarlyFusionSegmenter):
    """The network of Figure 2: FIAM in four stages, TMEM, a top-down decoder.

    Args:
        name: the preset's name.
        preset: its sizes.
    """

    paper = "FIANet: Exploring Fine-Grained Image-Text Alignment for RRSIS (IEEE TGRS 2025)"
    marks = ("object", "place")
    released_parts = frozenset({"backbone.tmem."})
    released_keys = _RELEASED
    unread = (
        r"^backbone\.layers\.3\.(context_tanh_gate|object_position_align_blk|fc[12])\.|"
        r"^backbone\.layers\.\d\.object_position_align_blk\.go_embedding\."
    )
    preset: Preset
    is_object: Tensor
    is_place: Tensor

    def __init__(self, name: str, preset: Preset) -> None:
        super().__init__(name, preset)
        widths, words = preset.swin.widths, preset.bert.width
        self.context = nn.ModuleList(PWAM(width, words) for width in widths)
        self.fiam = nn.ModuleList(FIAM(width, words) for width in widths[:-1])
        self.tmem = self._tmem(preset.enhancements)

    def text_features(self) -> list[TensorSpec]:
        """Words and bias thrice: of the whole sentence, of the object's words, of the place's."""
        words, bias = super().text_features()
        return [
            TensorSpec(f"{part}{tensor.name}", tensor.shape)
            for part in ("", "object_", "place_")
            for tensor in (words, bias)
        ]

    def encode_text(self, tokens: Tensor, marks: Tensor | None = None) -> tuple[Tensor, ...]:
        """BERT's words [B, T, D] and their bias [B, T] when it reads all words, the object's only, the place's only.

        Args:
            tokens: int64 [B, T].
            marks: int64 [B, 2, T], 1 for the object's and for the place's words, 0 for others, -1 for what the built-in
                lists are to tell, as without marks.
        """
        is_word = tokens != self.spec.words.pad
        parts = [is_word]
        for index, listed in enumerate((self.is_object, self.is_place)):
            part = listed[tokens]
            if marks is not None:
                part = (part & (marks[:, index] < 0)) | (marks[:, index] > 0)
            parts.append(is_word & part)
        parts[-1] = _or_all(parts[-1], is_word)
        biases = [padding_bias(part) for part in parts]
        return tuple(tensor for bias in biases for tensor in (self.text_encoder(tokens, bias), bias))

    def fuse(
        self, index: int, entering: Tensor, x: Tensor, text: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """The context goes to the decoder; FIAM adds it and what object and place find to the tokens."""
        context = self.context[index](x, *text[:2])
        if index < len(self.fiam):
            x = x + self.fiam[index](x, context, self.image_encoder.sides[index], text)
        return context, x, text

    def refine(self, levels: list[Tensor], text: tuple[Tensor, ...]) -> list[Tensor]:
        """TMEM, which attends to the whole sentence."""
        return self.tmem(levels, *text[:2])

    def paper_loss(self, logits: Tensor, masks: Tensor) -> Tensor:
        """0.9 cross-entropy (class weights 0.9 and 1.1) + 0.1 Dice."""
        return cross_entropy_and_dice(logits, masks)

    @contextmanager
    def resized(self, state: Mapping[str, Tensor]) -> Iterator[None]:
        """Takes as many blocks of multi-scale enhancement as a checkpoint has, where the datasets' trainings differ."""
        blocks = {key.split(".")[2] for key in state if key.startswith("tmem.blocks.")}
        kept = self.preset, self.tmem
        if blocks and len(blocks) != self.preset.enhancements:
            self.preset = replace(self.preset, enhancements=len(blocks))
            self.tmem = self._tmem(len(blocks)).to(self.classes.weight)
        try:
            yield
        except CheckpointError:
            self.preset, self.tmem = kept
            raise

    def _tmem(self, enhancements: int) -> CrossScale:
        widths, words = self.preset.swin.widths, self.preset.bert.width
        return CrossScale(widths, [TextAwareBlock(sum(widths) // 4, words) for _ in range(enhancements)])

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
