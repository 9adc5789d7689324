"""CLIP as a dual encoder: zero-shot scene classification and retrieval between images and texts.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021. RemoteCLIP, GeoRSCLIP,
SkyScript, FarSLIP and PriorCLIP are released as weights of this architecture; any file that `rsvl.checkpoints` reads
fills it whole (``--weights``), the logit scale included. The model takes the checkpoint's sizes, and its image encoder:
a vision transformer, or CLIP's ResNet (section 2.4).

Which activation the weights were trained with cannot be seen from their shapes, and the wrong one costs accuracy:

* A Hugging Face directory says it in `config.json` or `open_clip_config.json`, OpenAI's own archives carry constants
  that nobody else's do (theirs is QuickGELU), and files that `rsvl` wrote record it: the model follows them, whatever
  its preset. So it does with heads, epsilon and pixels (`rsvl.modules.encoders.clip_configuration`).
* All others, with a warning, follow the preset, named as open_clip names its models: ``clip``, ``clip-vit-b-16``,
  ``clip-vit-l-14``, ``clip-vit-h-14`` and ``clip-rn50`` … have GELU, the same with the suffix ``-quickgelu`` QuickGELU;
  of a CLIP with a ResNet only the text encoder has an activation to choose. RemoteCLIP is used with GELU (its card
  builds open_clip's ``ViT-B-32`` or ``RN50``); GeoRSCLIP with QuickGELU (its card starts from open_clip's ``openai``
  weights).

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
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.modules.bases.exportable import ENCODERS, ExportableModel
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
    convert_clip,
    convert_text_tower,
    image_part,
    is_clip,
    is_clip_resnet,
    text_part,
)
from rsvl.modules.encoders.clip_kinds import refuse_other_images
from rsvl.modules.encoders.clip_resnet import (
    CELL,
    RN50,
    RN50X4,
    RN50X16,
    RN50X64,
    RN101,
    CLIPResNetEncoder,
    ResNetSizes,
    resnet_part,
)
from rsvl.modules.encoders.clip_sizes import HEAD, depth, shared_by_heads, sizes_of, usual, with_heads
from rsvl.modules.encoders.stem import ConvStem
from rsvl.modules.tokenizers.clip import VOCABULARY_SIZE, clip_tokenizer_json
from rsvl.modules.tokenizers.words import question_tokenizer_json
from rsvl.registry import register
from rsvl.runtime.errors import CheckpointError
from rsvl.runtime.manifest import MATCHING, GraphSpec, ImageSpec, ModelSpec, TensorSpec, TextSpec

#: The scale of cosines that CLIP's training starts from, and the largest that it allows.
START_SCALE, MAX_SCALE = 1 / 0.07, 100.0
_RESIZED = "-resized"


@dataclass(frozen=True)
class Preset:
    """Sizes of a CLIP.

    Attributes:
        image_size, patch: pixels of the square input and of a token; a ResNet has no patch, 0.
        tokens: words per sentence with start and end token.
        vision, text: (width, layers, heads) of the encoders, or the sizes of a ResNet for images.
        vocabulary: size of the token vocabulary.
        embed_dim: width of the space shared by image and text, E.
        activation: of the feed-forward layers, "gelu" or "quick_gelu".
        stem: widths of a convolutional patch embedding, or none for CLIP's single convolution.
    """

    image_size: int
    patch: int
    tokens: int
    vision: Size | ResNetSizes
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

CLIP_RN50 = replace(VIT_B_32, patch=0, vision=RN50, embed_dim=1024)
CLIP_RN101 = replace(CLIP_RN50, vision=RN101, embed_dim=512)
CLIP_RN50X4 = replace(CLIP_RN50, image_size=288, vision=RN50X4, text=(640, 12, 10), embed_dim=640)
CLIP_RN50X16 = replace(CLIP_RN50, image_size=384, vision=RN50X16, text=(768, 12, 12), embed_dim=768)
CLIP_RN50X64 = replace(CLIP_RN50, image_size=448, vision=RN50X64, text=(1024, 12, 16), embed_dim=1024)

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

_PUBLISHED = {
    "clip": VIT_B_32,
    "clip-vit-b-16": VIT_B_16,
    "clip-vit-l-14": VIT_L_14,
    "clip-vit-h-14": VIT_H_14,
    "clip-rn50": CLIP_RN50,
    "clip-rn101": CLIP_RN101,
    "clip-rn50x4": CLIP_RN50X4,
    "clip-rn50x16": CLIP_RN50X16,
    "clip-rn50x64": CLIP_RN50X64,
}
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

    shows_as_encoder: ClassVar[bool] = True

    def __init__(self, name: str, preset: Preset) -> None:
        super().__init__()
        self._heads_told = True
        self._build(name, preset)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(START_SCALE)))

    def _build(self, name: str, p: Preset) -> None:
        self.preset, self.spec = p, _spec(name, p)
        self.image_encoder = _image_encoder(p)
        text = text_config(p.text, p.tokens, p.vocabulary, p.activation)
        self.text_encoder = CLIPTextEncoder(text, p.embed_dim)

    def encode_image(self, image: Tensor) -> tuple[Tensor]:
        """Images float [B, 3, S, S] → embeddings of length one [B, E]."""
        return (F.normalize(self.image_encoder.embed(image).float(), dim=-1),)

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

    @classmethod
    def reads(cls, state: Mapping[str, Tensor]) -> bool:
        """Whether these are a CLIP with a vision transformer or with CLIP's ResNet."""
        return is_clip(state) or is_clip_resnet(state)

    def published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """The whole model from a published CLIP; its image encoder and sizes are the checkpoint's (`resized`).

        A file without a logit scale leaves the model's.

        Raises:
            CheckpointError: a relative of CLIP, with other encoders.
        """
        if not self.reads(state):
            if not state.keys() & self.state_dict().keys() - {SCALE}:
                refuse_other_images(state)
            return None
        if is_clip_resnet(state):
            images, texts = resnet_part(state), convert_text_tower(state) or {}
        else:
            converted = convert_clip(state)
            images, texts = image_part(converted), text_part(converted)
        scale = state[SCALE].reshape(()) if SCALE in state else self.logit_scale
        parts = {"image_encoder": images, "text_encoder": texts}
        return {**{f"{name}.{key}": value for name, part in parts.items() for key, value in part.items()}, SCALE: scale}

    @contextmanager
    def resized(self, state: Mapping[str, Tensor]) -> Iterator[None]:
        """Becomes a CLIP of a checkpoint's sizes, its image and sentence among them, with fresh encoders and a warning.

        It becomes the preset of those sizes, where there is one. Nothing changes where they are its own; nor where it
        has a convolutional stem, which nobody publishes; nor where the weights do not tell their sizes.

        Args:
            state: the checkpoint's weights, in the model's names.

        Raises:
            CheckpointError: another vocabulary, layers or heads that rsvl's CLIP has not; or raised within the block,
                after which it is as it was.
        """
        sizes = sizes_of({key.split(".", 1)[-1]: value for key, value in state.items()})
        if not sizes or self.preset.stem or _alike(self.preset, sizes):
            yield
            return
        kept = self.preset, self.spec, self.image_encoder, self.text_encoder
        self._heads_told = False
        self._build(*_of_sizes(self.spec.name, self.preset, sizes))
        self.to(self.logit_scale).train(kept[2].training)
        try:
            yield
            self._say_resized(kept[1].name, kept[0])
        except CheckpointError:
            self.preset, self.spec, self.image_encoder, self.text_encoder = kept
            raise

    def _say_resized(self, before: str, preset: Preset) -> None:
        """One line of what the model is now, and of how many heads it has where that is a guess.

        Raises:
            CheckpointError: nothing told the heads and their usual width does not divide the encoders'.
        """
        p, guess = self.preset, ""
        if not self._heads_told and self.spec.name.endswith(_RESIZED):
            towers = (p.vision, preset.vision), (p.text, preset.text)
            widths = [(shared_by_heads(size)[0], shared_by_heads(own)[0]) for size, own in towers]
            unusual = [width for width, own in widths if width % HEAD and width != own]
            if unusual:
                raise CheckpointError(
                    f"nothing tells how many heads share the {unusual[0]} channels of this CLIP: put its config.json "
                    "or open_clip_config.json into a folder with it, and give the folder"
                )
            heads = f"{shared_by_heads(p.vision)[1]} and {shared_by_heads(p.text)[1]}"
            guess = f"; nothing tells how many heads its encoders have: {heads} are usual"
        warnings.warn(f"{before} takes the sizes of the checkpoint: it is {self.spec.name} now{guess}", stacklevel=2)

    def load_extra_state(self, extra: Mapping[str, str]) -> None:
        """See `ExportableModel`; files that rsvl wrote earlier have one `activation` for both encoders."""
        if "activation" in extra:
            extra = {**{f"{name}.activation": extra["activation"] for name in ENCODERS}, **extra}
        super().load_extra_state(extra)
        self._heads_told = "image_encoder.heads" in extra
        vision, text = (int(encoder.settings()["heads"]) for encoder in (self.image_encoder, self.text_encoder))
        self.preset = replace(
            self.preset,
            vision=with_heads(self.preset.vision, vision),
            text=(*self.preset.text[:2], text),
        )

    def tokenizer_json(self) -> str:
        """CLIP's tokenizer, or for a small vocabulary the one that ships with the tiny presets."""
        return clip_tokenizer_json() if self.preset.vocabulary == VOCABULARY_SIZE else question_tokenizer_json()


def _image_encoder(p: Preset) -> CLIPImageEncoder | CLIPResNetEncoder:
    if isinstance(p.vision, ResNetSizes):
        return CLIPResNetEncoder(replace(p.vision, grid=p.image_size // CELL), p.embed_dim)
    vision = vision_config(p.vision, p.image_size, p.patch, p.activation)
    encoder = CLIPImageEncoder(vision, p.embed_dim, ConvStem(p.stem) if p.stem else None)
    encoder.start_positions()
    return encoder


def _alike(preset: Preset, sizes: Mapping[str, Any], but: tuple[str, ...] = ()) -> bool:
    """Whether a preset has the sizes that `sizes_of` tells, but for some."""
    ours = {**asdict(preset), "vision": depth(preset.vision), "text": depth(preset.text)}
    return all(ours[name] == size for name, size in sizes.items() if name not in but)


def _of_sizes(name: str, preset: Preset, sizes: Mapping[str, Any]) -> tuple[str, Preset]:
    """The preset of other sizes with the same activation, by its name if it has one.

    A known one at another size of images is named as open_clip does, ``clip-vit-l-14-336``.

    Raises:
        CheckpointError: another vocabulary, whose tokenizer is not known.
    """
    if sizes["vocabulary"] != preset.vocabulary:
        raise CheckpointError(
            f"a CLIP with {sizes['vocabulary']} tokens to choose from is not supported: {name} has {preset.vocabulary}"
        )
    for known, other in PRESETS.items():
        if other.activation == preset.activation and not other.stem and _alike(other, sizes, ("image_size", "tokens")):
            image_size, tokens = sizes["image_size"], sizes["tokens"]
            parts = [known, *([str(image_size)] if image_size != other.image_size else [])]
            parts += [f"{tokens}-tokens"] if tokens != other.tokens else []
            return "-".join(parts), replace(other, image_size=image_size, tokens=tokens)
    towers = {each: usual(sizes[each], getattr(preset, each)) for each in ("vision", "text")}
    return f"{name}{_RESIZED}", replace(preset, **{**sizes, **towers})


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
