"""What LAVT and the models after it share: words enter Swin's stages, maps of four stages become a mask.

The graphs: `image` is all before the first word enters, Swin's first stage; `text` is BERT; `head` is the rest.

Choices, where the papers' public codes differ from each other or from what a tiny preset needs:

* Released checkpoints load (`published`), and what is computed with them is what their authors' code computes. Where
  the paper says otherwise, a preset of its own has the paper's computation, under a name that says so.
* Full presets have the papers' losses, and their two-class logits at a quarter of the image's side are enlarged to it.
  `mask_logits` is the difference of the two classes' logits, whose sigmoid is the softmax's foreground.
* Tiny presets are trained from scratch on small images: a convolutional stem embeds patches of 8 pixels and a finer map
  of it, multiplied with the sentence, joins after the decoder; positions are added to the pixels; the loss is focal and
  Dice as CD2FSAN's, with the text-to-pixel contrast on what the image graph gives.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from rsvl.modules.bases.released import FAMILY_KEYS, RELEASED_PARTS, from_released
from rsvl.modules.bases.segmentation import ReferringSegmenter, segmentation_graphs
from rsvl.modules.encoders.bert import BERT_BASE, BertSizes, BertWords
from rsvl.modules.encoders.stem import ConvStem
from rsvl.modules.encoders.swin import IMAGENET_MEAN, IMAGENET_STD, SWIN_B, SwinEncoder, SwinSizes
from rsvl.modules.key_rules import Rules
from rsvl.modules.layers.adaptive_rotation import ADAPTIVE_ROTATION_KEYS
from rsvl.modules.layers.attention import padding_bias
from rsvl.modules.layers.fine_detail import FineDetail
from rsvl.modules.layers.mask_decoder import MaskDecoder
from rsvl.modules.losses.contrast import PRIOR_LOGIT, contrast_loss
from rsvl.modules.tokenizers.bert import VOCABULARY_SIZE, bert_tokenizer_json, wordpiece_tokenizer_json
from rsvl.modules.tokenizers.words import overhead_tokenizer_json
from rsvl.modules.trained_images import RRSIS_D_RESOLUTION, RRSIS_D_SIDE, SYNTHETIC_RESOLUTION
from rsvl.runtime.errors import UsageError
from rsvl.runtime.manifest import SEGMENTATION, ImageSpec, ModelSpec, TensorSpec, TextSpec

_SMALL_VOCABULARY = 1024
_SHUFFLE = 2  # tiny presets' classes are predicted for this many pixels along each side of a cell


@dataclass(frozen=True)
class Preset:
    """Sizes that all these models have; a model with more of its own derives from it.

    Attributes:
        image_size: side of the square input in pixels.
        trained_side, trained_resolution: of the images of the data that it is trained on, see `ImageSpec`.
        tokens: words per sentence with start and end token.
        swin, bert: the encoders.
        decoder: channels after each block of the mask decoder, coarsest first.
        stem: widths of a convolutional patch embedding for models trained from scratch; none for Swin's own.
    """

    image_size: int = 480
    trained_side: int = RRSIS_D_SIDE
    trained_resolution: tuple[float, float] = RRSIS_D_RESOLUTION
    tokens: int = 20
    swin: SwinSizes = SWIN_B
    bert: BertSizes = BERT_BASE
    decoder: tuple[int, int, int] = (512, 512, 512)
    stem: tuple[int, ...] = ()

    @property
    def patch(self) -> int:
        """Side of a patch in pixels."""
        return 2 ** len(self.stem) if self.stem else 4

    @property
    def keep_end(self) -> bool:
        """Whether a sentence that is cut keeps its end token; the authors' code cuts it off like any other."""
        return bool(self.stem)

    @property
    def mask_size(self) -> int:
        """Side of the mask logits in pixels."""
        return 4 * self.image_size // self.patch if self.stem else self.image_size


TINY: Mapping[str, Any] = {
    "image_size": 256,
    "trained_side": 0,
    "trained_resolution": SYNTHETIC_RESOLUTION,
    "tokens": 22,
    "swin": SwinSizes(embed=36, depths=(4, 2, 2, 2), heads=(2, 4, 8, 16), window=8, mlp_ratio=2),
    "bert": BertSizes(width=96, layers=4, heads=4, vocabulary=_SMALL_VOCABULARY, positions=22, dropout=0.0),
    "decoder": (48, 40, 24),
    "stem": (24, 32, 36),
}
"""What the tiny presets have in common, as arguments of `Preset`."""


class EarlyFusionSegmenter(ReferringSegmenter):
    """Swin whose stages attend to the words, and a top-down mask decoder.

    A subclass says how a stage attends to the words (`fuse`) and may add to what follows (`refine`, `decode`, and what
    the text graph gives: `encode_text` and its declaration, `text_features`).

    Args:
        name: the preset's name.
        preset: its sizes.

    Attributes:
        paper: the paper's title.
        rotated: whether the decoder's blocks rotate their kernels.
        marks: kinds of words that a caller may mark for the model (`TextSpec.marks`).
        gives_patches: whether the image graph also gives the patches that enter the first stage, as its last output.
        released_parts: which of `RELEASED_PARTS` the model's released checkpoints hold.
        released_keys: renames of their entries beside those that the family shares.
    """

    paper: ClassVar[str]
    rotated: ClassVar[bool] = False
    marks: ClassVar[tuple[str, ...]] = ()
    gives_patches: ClassVar[bool] = False
    released_parts: ClassVar[frozenset[str]] = frozenset()
    released_keys: ClassVar[Rules] = ()
    unread: ClassVar[str] = r"^backbone\.layers\.3\.res_gate\."

    def __init__(self, name: str, preset: Preset) -> None:
        super().__init__()
        p = self.preset = preset
        self.image_encoder = SwinEncoder(p.swin, p.image_size, ConvStem(p.stem) if p.stem else None)
        self.text_encoder = BertWords(p.bert)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in p.swin.widths)
        self.decoder = MaskDecoder(p.swin.widths, p.decoder, self.rotated)
        self.fine = _fine_detail(p) if p.stem else None
        self.classes = _classes(p)
        self.keep_fp32 = {"classes": "a mask's border is where two logits cross"}
        self.spec = self._spec(name)
        self._set_tokenizer(None)

    @abstractmethod
    def fuse(
        self, index: int, entering: Tensor, x: Tensor, text: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Conditions a stage on the words.

        Args:
            index: the stage, from 0.
            entering: the tokens that entered its blocks [B, N, C]; for stage 0 the last output of the image graph.
            x: its tokens [B, N, C].
            text: what the text graph gives, as the stage before left it.

        Returns:
            What the decoder gets of the stage [B, N, C], the tokens that the next stage goes on with [B, N, C], and
            the text features for it.
        """

    def refine(self, levels: list[Tensor], text: tuple[Tensor, ...]) -> list[Tensor]:
        """What happens to the maps [B, C, H, W] of all stages, finest first, before the decoder; nothing by default."""
        return levels

    def decode(self, levels: list[Tensor], text: tuple[Tensor, ...]) -> Tensor:
        """The maps as one [B, C, H, W] of the finest stage's size."""
        return self.decoder(levels)

    def text_features(self) -> list[TensorSpec]:
        """What `encode_text` gives: the words after BERT and the padding bias."""
        p = self.preset
        return [
            TensorSpec("words", ("batch", p.tokens, p.bert.width)),
            TensorSpec("padding", ("batch", p.tokens)),
        ]

    def encode_image(self, image: Tensor) -> tuple[Tensor, ...]:
        """Swin's first stage [B, N, C]; with a stem also the finer map [B, c, h, w] that joins after the decoder.

        And, where the model `gives_patches`, the patches that enter the first stage [B, N, C].
        """
        x, maps = self.image_encoder.embed(image)
        features = [self.image_encoder.blocks(0, x)]
        if self.fine is not None:
            features.append(self.fine.detail(maps[-1]))
        return (*features, x) if self.gives_patches else tuple(features)

    def encode_text(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """BERT's words [B, T, D] and the padding bias [B, T]."""
        bias = padding_bias(tokens != self.spec.words.pad)
        return self.text_encoder(tokens, bias), bias

    def head(self, *features: Tensor) -> tuple[Tensor]:
        """The stages with the words in them, and the decoder."""
        image = features[: len(self.spec.graphs[0].outputs)]
        text = features[len(image) :]
        entering, x, levels = image[-1], image[0], []
        for index, norm in enumerate(self.norms):
            if index:
                entering = self.image_encoder.merge(index, x)
                x = self.image_encoder.blocks(index, entering)
            level, x, text = self.fuse(index, entering, x, text)
            levels.append(self.image_encoder.map(index, norm(level)))
        x = self.decode(self.refine(levels, text), text)
        if self.fine is None:
            size = self.preset.mask_size
            logits = F.interpolate(self.classes(x), size=(size, size), mode="bilinear", align_corners=True)
        else:
            logits = F.pixel_shuffle(self.classes(self.fine(x, image[1], text[0][:, 0])), _SHUFFLE)
        return (logits[:, 1:] - logits[:, :1],)

    def auxiliary_loss(
        self,
        image: tuple[Tensor, ...],
        text: tuple[Tensor, ...],
        image_index: Tensor,
        masks: Tensor,
        class_masks: Tensor | None,
    ) -> Tensor:
        """For models trained from scratch, the text-to-pixel contrast (`rsvl.modules.losses.contrast`)."""
        if self.fine is None:
            return super().auxiliary_loss(image, text, image_index, masks, class_masks)
        similarity = self.fine.contrast((self.image_encoder.map(0, image[0]), image[1]), text[0][:, 0])
        return contrast_loss(self.loss, similarity, image_index, masks, class_masks)

    def loss(self, logits: Tensor, masks: Tensor) -> Tensor:
        """The paper's loss (`paper_loss`); focal and Dice loss for models trained from scratch."""
        if self.fine is not None:
            return super().loss(logits, masks)
        return self.paper_loss(logits.float(), masks.float())

    @abstractmethod
    def paper_loss(self, logits: Tensor, masks: Tensor) -> Tensor:
        """The paper's loss of logits and masks float [N, 1, h, w], a scalar."""

    @classmethod
    def reads(cls, state: Mapping[str, Tensor]) -> bool:
        """Whether these are a released checkpoint of this model and of no other of the family."""
        parts = {part for part in RELEASED_PARTS if any(key.startswith(part) for key in state)}
        return "classifier.conv1_4.weight" in state and parts == cls.released_parts

    def published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """The whole model from its authors' file (`rsvl.modules.bases.released`)."""
        if not self.reads(state):
            return None
        rules = (*self.released_keys, *FAMILY_KEYS, *(ADAPTIVE_ROTATION_KEYS if self.rotated else ()))
        return from_released(state, rules, self)

    def use_tokenizer(self, path: str | Path) -> None:
        """Takes the tokenizer of another BERT from a Hugging Face directory, a tokenizer.json or a vocab.txt.

        Raises:
            InputError: not a tokenizer of this BERT.
            UsageError: the preset has a vocabulary of its own.
        """
        if self._small_vocabulary:
            raise UsageError(f"{self.spec.name} brings its own tokenizer: leave --tokenizer out")
        self._set_tokenizer(bert_tokenizer_json(path, self.preset.bert.vocabulary))

    def extra_state(self) -> dict[str, str]:
        """See `ExportableModel`; and the tokenizer that was given, if any."""
        return super().extra_state() | ({} if self._small_vocabulary else {"tokenizer": self._tokenizer or ""})

    def load_extra_state(self, extra: Mapping[str, str]) -> None:
        """See `ExportableModel`.

        Raises:
            ValueError: an entry is damaged, or not a tokenizer.
        """
        super().load_extra_state(extra)
        if "tokenizer" in extra and not self._small_vocabulary:
            self._set_tokenizer(extra["tokenizer"] or None)

    def on_tokenizer_changed(self, tokenizer_json: str) -> None:
        """Callback, called with the tokenizer and whenever it changes, for models that look words up in it."""

    def tokenizer_json(self) -> str:
        """The tokenizer that was given; else the one that ships for this vocabulary, small or of the uncased BERTs.

        A BERT of another vocabulary with random weights knows no words: it gets the small one, with a warning.

        Raises:
            UsageError: a BERT of another vocabulary has trained weights and no tokenizer was given.
        """
        known = self._tokenizer or self._shipped_tokenizer()
        if known is not None:
            return known
        source = getattr(self, "source", {"weights": "random"})
        if source != {"weights": "random"}:
            raise UsageError(
                f"{self.spec.name} has trained words and no tokenizer: add --tokenizer with the folder or the "
                "vocab.txt of its BERT"
            )
        warnings.warn(f"{self.spec.name} has random weights: it gets the small tokenizer that ships", stacklevel=2)
        self._set_tokenizer(overhead_tokenizer_json())  # weights trained with it will bring it
        return overhead_tokenizer_json()

    def _spec(self, name: str) -> ModelSpec:
        p = self.preset
        image = ImageSpec(
            size=p.image_size,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            trained_side=p.trained_side,
            trained_resolution=p.trained_resolution,
            keep_aspect=True,
        )
        side = p.image_size // p.patch
        image_features = [TensorSpec("stage1", ("batch", side**2, p.swin.embed))]
        if p.stem:
            image_features.append(TensorSpec("detail", ("batch", p.decoder[-1], 2 * side, 2 * side)))
        if self.gives_patches:
            image_features.append(TensorSpec("patches", ("batch", side**2, p.swin.embed)))
        return ModelSpec(
            name=name,
            task=SEGMENTATION,
            paper=self.paper,
            images=(image,),
            text=TextSpec(tokens=p.tokens, keep_end=p.keep_end, marks=self.marks),
            graphs=segmentation_graphs(
                image, p.tokens, image_features, self.text_features(), p.mask_size, len(self.marks)
            ),
        )

    @property
    def _small_vocabulary(self) -> bool:
        return self.preset.bert.vocabulary == _SMALL_VOCABULARY

    def _shipped_tokenizer(self) -> str | None:
        """The one that ships for the preset's vocabulary, if there is one."""
        if self.preset.bert.vocabulary == VOCABULARY_SIZE:
            return wordpiece_tokenizer_json()
        return overhead_tokenizer_json() if self._small_vocabulary else None

    def _set_tokenizer(self, tokenizer_json: str | None) -> None:
        used = tokenizer_json or self._shipped_tokenizer() or overhead_tokenizer_json()
        try:
            Tokenizer.from_str(used)
        except Exception as error:  # the library raises bare Exception
            raise ValueError(f"its tokenizer cannot be read: {error}") from error
        self._tokenizer = tokenizer_json
        self.on_tokenizer_changed(used)


def _fine_detail(p: Preset) -> FineDetail:
    return FineDetail(p.decoder[-1], p.stem[-2], p.swin.embed, p.bert.width, p.mask_size // _SHUFFLE)


def _classes(p: Preset) -> nn.Conv2d:
    """Two classes, background first; from scratch with a foreground prior, at twice the map's size."""
    if not p.stem:
        return nn.Conv2d(p.decoder[-1], 2, 1)
    layer = nn.Conv2d(p.decoder[-1] // 2, 2 * _SHUFFLE**2, 1)
    prior = torch.tensor([-PRIOR_LOGIT / 2, PRIOR_LOGIT / 2])
    layer.bias = nn.Parameter(prior.repeat_interleave(_SHUFFLE**2))
    return layer
