"""CLIP as a dual encoder: zero-shot scene classification and retrieval between images and texts.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021. RemoteCLIP, GeoRSCLIP,
SkyScript, FarSLIP and PriorCLIP are released as weights of this architecture; any file that `rsvl.checkpoints` reads
fills it whole (``--weights``), the logit scale included. A model of other widths or layers takes the checkpoint's.

Which activation the weights were trained with cannot be seen from their shapes, and the wrong one costs accuracy
without a word:

* A Hugging Face directory says it in `config.json` or `open_clip_config.json`, OpenAI's own archives carry constants
  that nobody else's do (theirs is QuickGELU), and files that `rsvl` wrote record it: the model follows them, whatever
  its preset.
* All others follow the preset, named as open_clip names its models: ``clip``, ``clip-vit-b-16``, ``clip-vit-l-14`` and
  ``clip-vit-h-14`` have GELU, the same with the suffix ``-quickgelu`` QuickGELU. RemoteCLIP is used with GELU (its card
  builds open_clip's ``ViT-B-32``); GeoRSCLIP with QuickGELU (its card starts from open_clip's ``openai`` weights).

What was chosen here:

* Images are resized to the square as a whole; CLIP's own preprocessing crops the middle of what is not square.
* `clip-tiny` has a convolutional stem and is trained from scratch. Its encoders are as large as `tgfnet-tiny`'s.
* Training takes equal texts of a batch for one text, so that two images of a class are no counter-examples.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.activations import ACT2FN

from rsvl.modules.bases.exportable import ExportableModel
from rsvl.modules.encoders.clip import (
    CLIP_MEAN,
    CLIP_STD,
    CLIPImageEncoder,
    CLIPTextEncoder,
    Size,
    text_config,
    vision_config,
)
from rsvl.modules.encoders.clip_keys import (
    SCALE,
    clip_sizes,
    convert_clip,
    fit_positions,
    image_part,
    is_clip,
    text_part,
)
from rsvl.modules.encoders.stem import ConvStem
from rsvl.modules.tokenizers.clip import VOCABULARY_SIZE, clip_tokenizer_json
from rsvl.modules.tokenizers.words import question_tokenizer_json
from rsvl.registry import register
from rsvl.runtime.errors import CheckpointError
from rsvl.runtime.manifest import MATCHING, GraphSpec, ImageSpec, ModelSpec, TensorSpec, TextSpec

#: The scale of cosines that CLIP's training starts from, and the largest that it allows.
START_SCALE, MAX_SCALE = 1 / 0.07, 100.0
_SIXTEEN_HEADS = (1280, 1408, 1664)


@dataclass(frozen=True)
class Preset:
    """Sizes of a CLIP.

    Attributes:
        image_size, patch: pixels of the square input and of a token.
        tokens: words per sentence with start and end token.
        vision, text: (width, layers, heads) of the encoders.
        vocabulary: size of the token vocabulary.
        embed_dim: width of the space shared by image and text, E.
        activation: of the feed-forward layers, "gelu" or "quick_gelu".
        stem: widths of a convolutional patch embedding, or none for CLIP's single convolution.
    """

    image_size: int
    patch: int
    tokens: int
    vision: Size
    text: Size
    vocabulary: int
    embed_dim: int
    activation: str = "gelu"
    stem: tuple[int, ...] = ()


VIT_B_32 = Preset(
    image_size=224,
    patch=32,
    tokens=77,
    vision=(768, 12, 12),
    text=(512, 12, 8),
    vocabulary=VOCABULARY_SIZE,
    embed_dim=512,
)
VIT_B_16 = replace(VIT_B_32, patch=16)
VIT_L_14 = replace(VIT_B_32, patch=14, vision=(1024, 24, 16), text=(768, 12, 12), embed_dim=768)
VIT_H_14 = replace(VIT_B_32, patch=14, vision=(1280, 32, 16), text=(1024, 24, 16), embed_dim=1024)

TINY = Preset(
    image_size=256,
    patch=16,
    tokens=22,
    vision=(128, 3, 4),
    text=(96, 2, 4),
    vocabulary=1024,
    embed_dim=128,
    activation="quick_gelu",
    stem=(16, 48, 80, 128),
)

_PUBLISHED = {"clip": VIT_B_32, "clip-vit-b-16": VIT_B_16, "clip-vit-l-14": VIT_L_14, "clip-vit-h-14": VIT_H_14}
PRESETS = {
    **_PUBLISHED,
    **{f"{name}-quickgelu": replace(preset, activation="quick_gelu") for name, preset in _PUBLISHED.items()},
    "clip-tiny": TINY,
}


@register("clip", presets=PRESETS)
class CLIP(ExportableModel):
    """Image and text encoder into one space, and the scale of their similarity.

    Args:
        name: the preset's name.
        preset: its sizes.
    """

    def __init__(self, name: str, preset: Preset) -> None:
        super().__init__()
        self._build(name, preset)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(START_SCALE)))

    def _build(self, name: str, p: Preset) -> None:
        self.preset, self.spec = p, _spec(name, p)
        vision = vision_config(p.vision, p.image_size, p.patch, p.activation)
        self.image_encoder = CLIPImageEncoder(vision, p.embed_dim, ConvStem(p.stem) if p.stem else None)
        text = text_config(p.text, p.tokens, p.vocabulary, p.activation)
        self.text_encoder = CLIPTextEncoder(text, p.embed_dim)
        self.image_encoder.start_positions()

    def encode_image(self, image: Tensor) -> tuple[Tensor]:
        """Images float [B, 3, S, S] → embeddings of length one [B, E]."""
        states, _ = self.image_encoder(image)
        return (F.normalize(self.image_encoder.embedding(states[-1]).float(), dim=-1),)

    def encode_text(self, tokens: Tensor) -> tuple[Tensor]:
        """Sentences int64 [B, T] → embeddings of length one [B, E]."""
        return (F.normalize(self.text_encoder(tokens)[1].float(), dim=-1),)

    def head(self, image: Tensor, text: Tensor) -> tuple[Tensor]:
        """The similarity [B] of each image's embedding [B, E] to its text's: their cosine times the logit scale."""
        return (self.scale() * (image.float() * text.float()).sum(-1),)

    def scale(self) -> Tensor:
        """What cosines are multiplied with before a softmax over texts or images, at most 100."""
        return self.logit_scale.float().exp().clamp(max=MAX_SCALE)

    def forward(self, images: Tensor, tokens: Tensor, contrast: bool = False) -> Tensor:
        """Compares every image with every text, or computes the training loss of their pairs.

        Args:
            images: float [B, 3, S, S], normalised.
            tokens: int64 [N, T].
            contrast: text i is about image i (N = B): gives the loss.

        Returns:
            Similarities float [B, N]; with `contrast`, the scalar symmetric InfoNCE loss.
        """
        similarity = self.scale() * self.encode_image(images)[0] @ self.encode_text(tokens)[0].T
        return info_nce(similarity, tokens) if contrast else similarity

    def set_activation(self, activation: str) -> None:
        """Changes the activation of both encoders' feed-forward layers to "gelu" or "quick_gelu".

        Raises:
            CheckpointError: another activation.
        """
        if activation not in ("gelu", "quick_gelu"):
            raise CheckpointError(f"a CLIP with activation {activation!r} is not supported: gelu and quick_gelu are")
        for config in (self.image_encoder.vision_model.config, self.text_encoder.text_model.config):
            config.hidden_act = activation
        towers = (self.image_encoder.vision_model, self.text_encoder.text_model)
        for layer in (layer for tower in towers for layer in tower.encoder.layers):
            layer.mlp.activation_fn = ACT2FN[activation]  # type: ignore[union-attr]

    def published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """The whole model from a published CLIP with a vision transformer.

        Positions are fitted to the model's image and sentence where all other sizes are its own. A file without a logit
        scale leaves the model's.
        """
        if not is_clip(state):
            return None
        converted = convert_clip(state)
        if _alike(self.preset, clip_sizes(converted)):
            tokens = self.image_encoder.vision_model.embeddings.position_embedding.num_embeddings
            converted = fit_positions(converted, tokens, self.preset.tokens)
        image = {f"image_encoder.{key}": value for key, value in image_part(converted).items()}
        text = {f"text_encoder.{key}": value for key, value in text_part(converted).items()}
        return {**image, **text, SCALE: converted.get(SCALE, self.logit_scale)}

    @contextmanager
    def resized(self, state: Mapping[str, Tensor]) -> Iterator[None]:
        """Becomes a CLIP of a checkpoint's sizes, with fresh encoders and a warning.

        It becomes the preset of those sizes, where there is one. Nothing changes where they are its own but for the
        image and the sentence, to which positions can be fitted; nor where it has a convolutional stem, which nobody
        publishes; nor where the weights do not tell their sizes.

        Args:
            state: the checkpoint's weights, in the model's names.

        Raises:
            CheckpointError: another vocabulary; or raised within the block, after which it is as it was.
        """
        sizes = clip_sizes({key.split(".", 1)[-1]: value for key, value in state.items()})
        if not sizes or self.preset.stem or _alike(self.preset, sizes):
            yield
            return
        kept = self.preset, self.spec, self.image_encoder, self.text_encoder
        self._build(*_of_sizes(self.spec.name, self.preset, sizes))
        self.to(self.logit_scale).train(kept[2].training)
        warnings.warn(f"{kept[1].name} takes the sizes of the checkpoint: it is {self.spec.name} now", stacklevel=1)
        try:
            yield
        except CheckpointError:
            self.preset, self.spec, self.image_encoder, self.text_encoder = kept
            raise

    def extra_state(self) -> dict[str, str]:
        """The activation, which the weights' shapes do not tell."""
        return {"activation": str(self.image_encoder.vision_model.config.hidden_act)}

    def load_extra_state(self, extra: Mapping[str, str]) -> None:
        """Sets the activation that was saved with the weights, or that a published file tells."""
        if "activation" in extra:
            self.set_activation(extra["activation"])

    def tokenizer_json(self) -> str:
        """CLIP's tokenizer, or for a small vocabulary the one that ships with the tiny presets."""
        return clip_tokenizer_json() if self.preset.vocabulary == VOCABULARY_SIZE else question_tokenizer_json()


def _alike(preset: Preset, sizes: Mapping[str, Any]) -> bool:
    """Whether weights of these sizes fit, once positions are fitted to the image and the sentence.

    Args:
        preset: the model's.
        sizes: those that `clip_sizes` tells.
    """
    ours = {**asdict(preset), "vision": preset.vision[:2], "text": preset.text[:2]}
    return all(ours[name] == size for name, size in sizes.items() if name not in ("image_size", "tokens"))


def _of_sizes(name: str, preset: Preset, sizes: Mapping[str, Any]) -> tuple[str, Preset]:
    """The preset of other sizes with the same activation, by its name if it has one.

    Raises:
        CheckpointError: another vocabulary, whose tokenizer is not known.
    """
    if sizes["vocabulary"] != preset.vocabulary:
        raise CheckpointError(
            f"a CLIP with {sizes['vocabulary']} tokens to choose from is not supported: {name} has {preset.vocabulary}"
        )
    for known, other in PRESETS.items():
        if other.activation == preset.activation and not other.stem and _alike(other, sizes):
            return known, other
    vision, text = ((width, layers, _heads(width)) for width, layers in (sizes["vision"], sizes["text"]))
    return f"{name}-resized", replace(preset, **{**sizes, "vision": vision, "text": text})


def _heads(width: int) -> int:
    """How many heads open_clip's encoders of a width have: each 64 wide, but in ViT-H, -g and -bigG."""
    return 16 if width in _SIXTEEN_HEADS else max(1, width // 64)


def info_nce(similarity: Tensor, tokens: Tensor) -> Tensor:
    """CLIP's symmetric contrastive loss, with equal texts of the batch counted as one.

    Args:
        similarity: float [B, B], of image i (row) and text j (column).
        tokens: int64 [B, T], the texts.

    Returns:
        The mean of the cross-entropy over texts for each image and over images for each text; where several pairs have
        the same text, each is an equal share of the target.
    """
    same = (tokens[:, None] == tokens[None]).all(-1).to(similarity.dtype)
    target = same / same.sum(1, keepdim=True)
    return (F.cross_entropy(similarity, target) + F.cross_entropy(similarity.T, target)) / 2


def _spec(name: str, p: Preset) -> ModelSpec:
    image, text = (
        TensorSpec("image_embedding", ("batch", p.embed_dim)),
        TensorSpec("text_embedding", ("batch", p.embed_dim)),
    )
    pixels = TensorSpec("image", ("batch", 3, p.image_size, p.image_size))
    ids = TensorSpec("tokens", ("batch", p.tokens), "int64")
    return ModelSpec(
        name=name,
        task=MATCHING,
        paper="CLIP: Learning Transferable Visual Models From Natural Language Supervision (ICML 2021)",
        images=(ImageSpec(size=p.image_size, mean=CLIP_MEAN, std=CLIP_STD, resize="bicubic"),),
        text=TextSpec(tokens=p.tokens),
        graphs=(
            GraphSpec("image", (pixels,), (image,)),
            GraphSpec("text", (ids,), (text,)),
            GraphSpec("head", (image, text), (TensorSpec("similarity", ("batch",)),)),
        ),
    )
