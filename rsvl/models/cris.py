"""CRIS: CLIP's ResNet and text encoder, a decoder of pixels that attend to words, a kernel made of the sentence.

Wang et al., "CRIS: CLIP-Driven Referring Image Segmentation", CVPR 2022 (public code: DerrickWang005/CRIS.pytorch),
which this computes. Section numbers are the paper's. Training: Adam, 1e-4 and a tenth of it for CLIP, no weight decay,
50 epochs, a tenth from epoch 35 on.

The sentence enters early, but what of the neck it does not reach is in the `image` graph. Two things are computed
otherwise than in the released code, with the same result:

* The sentence's kernel of 3×3 taps is applied tap by tap: a product of taps and pixels, whose nine maps are then
  shifted and summed. So a batch of sentences needs no convolution in as many groups.
* The convolution of 1×1 before it acts on the nine taps and not on the pixels, which are a thousand times as many.

What is ours: the input's letterbox is of whole pixels, and logits, not probabilities, are enlarged to the image.
`cris-tiny` is trained from scratch, on images without a border.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.modules.bases.segmentation import ReferringSegmenter, segmentation_graphs
from rsvl.modules.encoders.clip import CLIP_MEAN, CLIP_STD, CLIPTextEncoder, Size, text_config
from rsvl.modules.encoders.clip_keys import convert_text_tower, fit_positions
from rsvl.modules.encoders.clip_resnet import RN50, RN101, CLIPResNetEncoder, ResNetSizes, resnet_blocks
from rsvl.modules.key_rules import Rules, renamed
from rsvl.modules.layers.attention import attend, padding_bias
from rsvl.modules.tokenizers.clip import VOCABULARY_SIZE, clip_tokenizer_json
from rsvl.modules.tokenizers.words import overhead_tokenizer_json
from rsvl.modules.trained_images import RRSIS_D_RESOLUTION, RRSIS_D_SIDE, SYNTHETIC_RESOLUTION
from rsvl.registry import register
from rsvl.runtime.errors import CheckpointError
from rsvl.runtime.manifest import SEGMENTATION, ImageSpec, ModelSpec, TensorSpec, TextSpec

_TAPS = 9


def _letterboxed() -> ImageSpec:
    border = tuple(round(255 * mean) for mean in CLIP_MEAN)
    return ImageSpec(
        416,
        CLIP_MEAN,
        CLIP_STD,
        resize="cubic",
        letterbox=border,
        trained_side=RRSIS_D_SIDE,
        trained_resolution=RRSIS_D_RESOLUTION,
    )


@dataclass(frozen=True)
class Preset:
    """Sizes of a CRIS.

    Attributes:
        image: its input.
        align_corners: see `ModelSpec`.
        tokens: words per sentence with start and end token.
        vision: the image encoder.
        text: (width, layers, heads) of the text encoder.
        vocabulary: size of the token vocabulary.
        embed_dim: width of the space shared by image and text, E.
        levels: the neck's channels of the maps v3, v4 and v5; v4's are also the neck's output.
        heads, hidden, layers: of the decoder.
        dropout: in the decoder.
    """

    image: ImageSpec = field(default_factory=_letterboxed)
    align_corners: bool = True
    tokens: int = 17
    vision: ResNetSizes = RN50
    text: Size = (512, 12, 8)
    vocabulary: int = VOCABULARY_SIZE
    embed_dim: int = 1024
    levels: tuple[int, int, int] = (256, 512, 1024)
    heads: int = 8
    hidden: int = 2048
    layers: int = 3
    dropout: float = 0.1

    @property
    def side(self) -> int:
        """Side of the neck's map: a sixteenth of the image."""
        return self.image.size // 16


TINY = Preset(
    image=ImageSpec(256, CLIP_MEAN, CLIP_STD, trained_resolution=SYNTHETIC_RESOLUTION, keep_aspect=True),
    align_corners=False,
    tokens=22,
    vision=ResNetSizes((1, 1, 2, 1), width=16, heads=8, grid=8),
    text=(96, 2, 4),
    vocabulary=1024,
    embed_dim=128,
    levels=(32, 64, 128),
    heads=2,
    hidden=128,
    layers=2,
    dropout=0.0,
)

PRESETS = {"cris": Preset(), "cris-r101": replace(Preset(), vision=RN101, embed_dim=512), "cris-tiny": TINY}


class Neck(nn.Module):
    """Cross-modal fusion of three maps and the sentence (3.2), with the places of the cells.

    Args:
        p: the model's sizes.
    """

    coordinates: Tensor

    def __init__(self, p: Preset) -> None:
        super().__init__()
        (low, width, high), (_, v3, v4, _) = p.levels, p.vision.widths
        self.gain = nn.Sequential(nn.Linear(p.embed_dim, high, bias=False), nn.BatchNorm1d(high), nn.ReLU())
        self.enter5, self.enter4, self.enter3 = _conv(p.embed_dim, high, 1), _conv(v4, width, 3), _conv(v3, low, 3)
        self.norm = nn.Sequential(nn.BatchNorm2d(high), nn.ReLU())
        self.join4, self.join3 = _conv(width + high, width, 1), _conv(low + width, width, 1)
        self.leave5, self.leave4, self.leave3 = _conv(high, width, 3), _conv(width, width, 3), _conv(width, width, 3)
        self.aggregate = _conv(3 * width, width, 1)
        self.place = nn.Sequential(_conv(width + 2, width, 3), _conv(width, width, 3))
        axis = torch.linspace(-1, 1, p.side)
        grid = torch.stack([axis.expand(p.side, -1), axis[:, None].expand(-1, p.side)])
        self.register_buffer("coordinates", grid[None], persistent=False)

    def image(self, v3: Tensor, v4: Tensor, v5: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the sentence does not reach: v3 [B, C3, 4·h, 4·w], v4 [B, C4, 2·h, 2·w] and v5 [B, E, h, w].

        Returns:
            [B, low, 2·h, 2·w], [B, C, 2·h, 2·w] and [B, high, h, w].
        """
        return F.avg_pool2d(self.enter3(v3), 2), self.enter4(v4), self.enter5(v5)

    def forward(self, low: Tensor, middle: Tensor, high: Tensor, state: Tensor) -> Tensor:
        """What `image` gives, and the sentence [B, E] → [B, C, 2·h, 2·w]."""
        f5 = self.norm(high * self.gain(state)[:, :, None, None])
        f4 = self.join4(torch.cat([middle, _doubled(f5)], dim=1))
        f3 = self.join3(torch.cat([low, f4], dim=1))
        levels = [self.leave3(f3), self.leave4(f4), _doubled(self.leave5(f5))]
        x = self.aggregate(torch.cat(levels, dim=1))
        coordinates = self.coordinates.to(x.dtype).expand(x.shape[0], -1, -1, -1)
        return self.place(torch.cat([x, coordinates], dim=1))


class PlacedAttention(nn.Module):
    """Multi-head attention of queries to keys and values that differ, as places are not in the values.

    Args:
        width: channels of all of them.
        heads: number of heads; divides `width`.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Queries [B, N, C], keys and values [B, M, C], and what hides some of these [B, M] → [B, N, C]."""
        return self.out(attend(self.query(query), self.key(key), self.value(value), self.heads, mask))


class Placed(nn.Module):
    """Adds to vectors where they are.

    Args:
        places: float32 [N, C].
    """

    places: Tensor

    def __init__(self, places: Tensor) -> None:
        super().__init__()
        self.register_buffer("places", places, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, C] → [B, N, C]."""
        return x + self.places.to(x.dtype)


class DecoderLayer(nn.Module):
    """Pixels attend to each other and to the words; a norm before and a norm after each attention (3.3).

    Args:
        width: channels of pixels and words.
        p: the model's sizes.
    """

    def __init__(self, width: int, p: Preset) -> None:
        super().__init__()
        self.self_attention, self.cross_attention = PlacedAttention(width, p.heads), PlacedAttention(width, p.heads)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.self_norm, self.cross_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(p.dropout)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, p.hidden),
            nn.ReLU(),
            nn.Dropout(p.dropout),
            nn.LayerNorm(p.hidden),
            nn.Linear(p.hidden, width),
        )

    def forward(self, x: Tensor, placed: Placed, words: Tensor, placed_words: Tensor, bias: Tensor) -> Tensor:
        """Pixels [B, N, C] and what adds their places, words [B, T, C] without and with theirs, bias [B, T]."""
        y = self.norm1(x)
        x = x + self.dropout(self.self_norm(self.self_attention(placed(y), placed(y), y)))
        attended = self.cross_attention(placed(self.norm2(x)), placed_words, words, bias)
        x = x + self.dropout(self.cross_norm(attended))
        return x + self.dropout(self.feed_forward(self.norm3(x)))


class Decoder(nn.Module):
    """The vision-language decoder (3.3).

    Args:
        width: channels of pixels and words.
        p: the model's sizes.
    """

    def __init__(self, width: int, p: Preset) -> None:
        super().__init__()
        axis = sine_positions(p.side, width // 2)
        self.placed = Placed(torch.cat([axis.repeat(p.side, 1), axis.repeat_interleave(p.side, 0)], dim=1))
        self.placed_words = Placed(sine_positions(p.tokens, width))
        self.layers = nn.ModuleList(DecoderLayer(width, p) for _ in range(p.layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, words: Tensor, bias: Tensor) -> Tensor:
        """A map [B, C, H, W], words [B, T, C] and their padding bias [B, T] → [B, C, H, W]."""
        size = x.shape[-2:]
        x = x.flatten(2).transpose(1, 2)
        placed_words = self.placed_words(words)
        for layer in self.layers:
            x = layer(x, self.placed, words, placed_words, bias)
        return self.norm(x).transpose(1, 2).unflatten(2, size)


class SentenceConvolution(nn.Module):
    """Makes of the sentence a kernel of 3×3 and convolves a map with it (3.4).

    Args:
        width: channels of the map C.
        embed_dim: channels of the sentence.
    """

    shifts: Tensor

    def __init__(self, width: int, embed_dim: int) -> None:
        super().__init__()
        self.pixels = nn.Linear(width, width + 1, bias=False)  # of a tap: its weights for the pixels, and its bias
        self.kernel = nn.Linear(embed_dim, _TAPS * width + 1)
        self.register_buffer("shifts", torch.eye(_TAPS).reshape(1, _TAPS, 3, 3), persistent=False)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        """A map [B, C, H, W] and sentences [B, E] → logits [B, 1, H, W]."""
        kernel = self.kernel(state)
        taps = self.pixels(kernel[:, :-1].unflatten(1, (-1, _TAPS)).transpose(1, 2))  # [B, 9, C + 1]
        maps = taps[..., :-1] @ x.flatten(2) + taps[..., -1:]
        logits = F.conv2d(maps.unflatten(2, x.shape[-2:]), self.shifts.to(maps.dtype), padding=1)
        return logits + kernel[:, -1:, None, None]


class Projector(nn.Module):
    """Enlarges the map and convolves it with the sentence's kernel (3.4).

    Args:
        width: channels of the map C; half of them are convolved.
        embed_dim: channels of the sentence.
    """

    def __init__(self, width: int, embed_dim: int) -> None:
        super().__init__()
        half = width // 2
        self.enlarge = nn.ModuleList([_conv(width, width, 3), _conv(width, half, 3)])
        self.mask = SentenceConvolution(half, embed_dim)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        """A map [B, C, H, W] and sentences [B, E] → logits [B, 1, 4·H, 4·W]."""
        for conv in self.enlarge:
            x = conv(_doubled(x))
        return self.mask(x, state)


@register("cris", presets=PRESETS)
class CRIS(ReferringSegmenter):
    """The network of Figure 2.

    Args:
        name: the preset's name.
        preset: its sizes.
    """

    unread = r"^backbone\.logit_scale$"

    def __init__(self, name: str, preset: Preset) -> None:
        super().__init__()
        self.keep_fp32 = {"projector.mask": "the kernel's rounding shifts all logits alike, and with them every border"}
        self._build(name, preset)

    def _build(self, name: str, p: Preset) -> None:
        self.preset, self.spec = p, _spec(name, p)
        width = p.levels[1]
        self.image_encoder = CLIPResNetEncoder(p.vision, p.embed_dim)
        self.connect = nn.Sequential(
            nn.Conv2d(p.vision.widths[-1], p.embed_dim, 1, bias=False), nn.BatchNorm2d(p.embed_dim)
        )
        self.text_encoder = CLIPTextEncoder(text_config(p.text, p.tokens, p.vocabulary), p.embed_dim)
        self.neck = Neck(p)
        self.words = nn.Linear(p.text[0], width) if p.text[0] != width else nn.Identity()
        self.decoder = Decoder(width, p)
        self.projector = Projector(width, p.embed_dim)

    def encode_image(self, image: Tensor) -> tuple[Tensor, ...]:
        """CLIP's maps, and of the neck what the sentence does not reach (`Neck.image`)."""
        _, v3, v4, last = self.image_encoder(image)
        v5 = F.relu(self.image_encoder.attnpool.dense(last) + self.connect(last))
        return self.neck.image(v3, v4, v5)

    def encode_text(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """CLIP's words [B, T, D], the sentence [B, E] and the padding bias [B, T]."""
        words, state, _ = self.text_encoder(tokens)
        return self.words(words), state, padding_bias(tokens != self.spec.words.pad)

    def head(self, *features: Tensor) -> tuple[Tensor]:
        """Neck, decoder and projector."""
        low, middle, high, words, state, bias = features
        x = self.decoder(self.neck(low, middle, high, state), words, bias)
        return (self.projector(x, state),)

    def loss(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Text-to-pixel contrast (3.4): the cross-entropy of the sentence's kernel at each pixel, a mean over all.

        Args:
            logits: float [N, 1, h, w].
            masks: float [N, 1, h, w] in 0…1.
        """
        return F.binary_cross_entropy_with_logits(logits.float(), masks.float())

    @classmethod
    def reads(cls, state: Mapping[str, Tensor]) -> bool:
        """Whether these are a checkpoint of the public code."""
        return "neck.txt_proj.0.weight" in state and any(key.startswith("backbone.") for key in state)

    def published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """The whole model from its authors' file."""
        return from_released(state, self.preset.tokens) if self.reads(state) else None

    @contextmanager
    def resized(self, state: Mapping[str, Tensor]) -> Iterator[None]:
        """Becomes the preset with the checkpoint's ResNet, where there is one, with a warning.

        Raises:
            CheckpointError: raised within the block, after which the model is as it was.
        """
        name = _preset_of(state)
        if name is None or name == self.spec.name or self.preset.vocabulary != VOCABULARY_SIZE:
            yield
            return
        before = self.preset, self.spec, dict(self.named_children())
        self._build(name, PRESETS[name])
        self.to(next(before[2]["neck"].parameters())).train(self.training)
        warnings.warn(f"{before[1].name} takes the sizes of the checkpoint: it is {name} now", stacklevel=1)
        try:
            yield
        except CheckpointError:
            self.preset, self.spec = before[:2]
            for part, module in before[2].items():
                setattr(self, part, module)
            raise

    def tokenizer_json(self) -> str:
        """CLIP's tokenizer, or for a small vocabulary the one that ships with the tiny presets."""
        return clip_tokenizer_json() if self.preset.vocabulary == VOCABULARY_SIZE else overhead_tokenizer_json()


def sine_positions(count: int, width: int) -> Tensor:
    """Sines and cosines of positions, in turns: float32 [count, width], wavelengths from 2π to 2π·10000."""
    angle = torch.arange(count)[:, None] * 10000.0 ** (-torch.arange(0, width, 2) / width)
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)


_TEXT = re.compile(r"backbone\.(token_embedding|positional_embedding|ln_final|text_projection|transformer)\b")
_IN_PROJECTION = re.compile(r"(decoder\.layers\.\d+\.(?:self|cross)_attention)\.in_proj_(weight|bias)$")
_PIXELS = ("proj.vis.4.weight", "proj.vis.4.bias")
_RELEASED: Rules = (
    (r"^backbone\.visual\.attnpool\.connect\.", "connect."),
    (r"^backbone\.visual\.", "image_encoder."),
    (r"^neck\.txt_proj\.", "neck.gain."),
    (r"^neck\.f1_v_proj\.", "neck.enter5."),
    (r"^neck\.f2_v_proj\.", "neck.enter4."),
    (r"^neck\.f3_v_proj\.", "neck.enter3."),
    (r"^neck\.norm_layer\.", "neck.norm."),
    (r"^neck\.f2_cat\.", "neck.join4."),
    (r"^neck\.f3_cat\.", "neck.join3."),
    (r"^neck\.f4_proj([345])\.", r"neck.leave\1."),
    (r"^neck\.aggr\.", "neck.aggregate."),
    (r"^neck\.coordconv\.0\.conv1\.", "neck.place.0."),
    (r"^neck\.coordconv\.1\.", "neck.place.1."),
    (r"^(decoder\.layers\.\d+)\.(self|cross)_attn_norm\.", r"\1.\2_norm."),
    (r"^(decoder\.layers\.\d+)\.self_attn\.", r"\1.self_attention."),
    (r"^(decoder\.layers\.\d+)\.multihead_attn\.", r"\1.cross_attention."),
    (r"^(decoder\.layers\.\d+\.\w+)\.out_proj\.", r"\1.out."),
    (r"^(decoder\.layers\.\d+)\.ffn\.", r"\1.feed_forward."),
    (r"^proj\.vis\.1\.", "projector.enlarge.0."),
    (r"^proj\.vis\.3\.", "projector.enlarge.1."),
    (r"^proj\.txt\.", "projector.mask.kernel."),
)


def from_released(state: Mapping[str, Tensor], tokens: int) -> dict[str, Tensor]:
    """The tensors of the authors' checkpoint under our names, in our layouts; what has no place keeps its name.

    Args:
        state: the checkpoint's tensors.
        tokens: how many of the words' positions to take.
    """
    tower = {key.removeprefix("backbone."): value for key, value in state.items() if _TEXT.match(key)}
    text = fit_positions(convert_text_tower(tower) or {}, text_tokens=tokens)
    own = {f"text_encoder.{key}": value for key, value in text.items()}
    for key, value in state.items():
        if not _TEXT.match(key):
            own.update(_thirds(renamed(key, _RELEASED), value))
    if own.keys() >= set(_PIXELS):  # a convolution of 1×1, whose transpose acts on the taps
        weight, bias = (own.pop(name) for name in _PIXELS)
        own["projector.mask.pixels.weight"] = torch.cat([weight.flatten(1).T, bias[None]])
    return own


def _thirds(key: str, value: Tensor) -> dict[str, Tensor]:
    """An entry; a matrix of queries, keys and values as three."""
    joined = _IN_PROJECTION.match(key)
    if joined is None:
        return {key: value}
    parts = zip(("query", "key", "value"), value.chunk(3), strict=True)
    return {f"{joined[1]}.{part}.{joined[2]}": third for part, third in parts}


def _preset_of(state: Mapping[str, Tensor]) -> str | None:
    """Which preset a state dict in our names is of, by its ResNet; None for one that there is not."""
    prefix = "image_encoder."
    blocks = resnet_blocks({key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)})
    return next((name for name, preset in PRESETS.items() if preset.vision.blocks == blocks), None)


def _conv(channels_in: int, channels: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(channels_in, channels, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU())


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def _spec(name: str, p: Preset) -> ModelSpec:
    low, width, high = p.levels
    image_features = [
        TensorSpec("low", ("batch", low, p.side, p.side)),
        TensorSpec("middle", ("batch", width, p.side, p.side)),
        TensorSpec("high", ("batch", high, p.side // 2, p.side // 2)),
    ]
    text_features = [
        TensorSpec("words", ("batch", p.tokens, width)),
        TensorSpec("state", ("batch", p.embed_dim)),
        TensorSpec("padding", ("batch", p.tokens)),
    ]
    return ModelSpec(
        name=name,
        task=SEGMENTATION,
        paper="CRIS: CLIP-Driven Referring Image Segmentation (CVPR 2022)",
        images=(p.image,),
        text=TextSpec(tokens=p.tokens),
        graphs=segmentation_graphs(p.image, p.tokens, image_features, text_features, 4 * p.side),
        threshold=0.35,
        align_corners=p.align_corners,
    )
