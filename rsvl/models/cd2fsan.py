"""CD2FSAN: CLIP-driven referring segmentation with dynamic feature selection and rotated kernels.

Lu et al., "CLIP-Driven with Dynamic Feature Selection and Alignment Network for Referring Remote Sensing Image
Segmentation", Remote Sensing 17(22):3675, 2025. Section and equation numbers below are that paper's.

The paper leaves much open. What was chosen here:

* Pooled feature of a layer (3.3): its class token, layer-normalised.
* Scores (3.3): the text speaks of layers 4 to 11 and, once, of an 11-vector; here 8 scores, of layers 4 to 11. V(i) and
  F_T are normalised to length one before the element-wise product, so that its sum is the cosine similarity that the
  text asks for. Φ_sel: linear, GELU, linear on the concatenated products, added to the cosines; softmax.
* The top-2 choice has no gradient. In training the chosen features are multiplied by S / stop-gradient(S), which
  changes no value and lets Φ_sel learn.
* Every candidate layer passes one shared two-layer adapter to the decoder's width. It does not depend on the sentence,
  so it is part of the image graph and is paid for once per image.
* Pyramid: F_V3 at H×W, F_V2 at H/2, F_V1 at H/4 by average pooling and a depthwise separable convolution. In the full
  preset H×W is twice the token grid (60×60): F_V3 is enlarged after the neck, F_V2 keeps a token's own resolution.
* IMC runs on each level before the level is multiplied with the sentence; its weights are shared by the levels. That of
  F_V3 (layer 12 for every sentence) therefore belongs to the image graph too. Its first 1×1 convolution "adjusts the
  channel dimension" (3.4), in the full preset to 768; the branches work in that width.
* Directional and dilated convolutions are depthwise separable, batch-normalised and followed by GELU.
* The aligned map gets its cells' places by sines and cosines (Figure 4 shows none; relations need them).
* Self-attention takes keys and values from the 2× or 4× pooled map (the multi-scale part); cross-attention follows,
  then a feed-forward layer; all pre-normalised and residual.
* Routing network of DRC: average pooling to the token grid, depthwise 3×3, layer norm over channels, ReLU, global
  average, one linear layer each for gates (sigmoid) and angles (π·softsign, so every orientation can be reached).
* The decoder ends in a 1×1 convolution and a pixel shuffle to the mask's resolution.
* A text adapter (transformer layers over CLIP's words, added to them, zero at the start) holds what Table 6's baseline
  has in parameters and not in FLOPs: 22 words make a weight cost 22 MACs, 900 tokens 900. The words go on to
  TMC, and F_T is projected from the adapted end token, so that every row of the table uses it.
* Widths are those that meet each row of Table 6 (`ablations`, `rsvl paper cd2fsan`), and most of them where the
  sentence does not matter yet: the neck's 3×3 convolutions on layer 12, the candidates' adapter, IMC of F_V3. A further
  sentence about the same image costs a quarter of the first.
* Training adds a text-to-pixel contrast (as CRIS does) to the paper's loss, on the features that the sentence
  multiplies, for the sentences and for the names of the dataset's classes.
* The tiny preset is trained from scratch on small images: a convolutional stem embeds its patches, and the stem's finer
  maps, multiplied with the sentence as the pyramid is, join the decoder where it upsamples.
* The baseline of Table 6 is the top level alone, multiplied with the sentence and decoded by a 1×1 convolution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPEncoder

from rsvl.modules.bases.segmentation import ReferringSegmenter, segmentation_graphs
from rsvl.modules.encoders.clip import (
    CLIP_MEAN,
    CLIP_STD,
    CLIPImageEncoder,
    CLIPTextEncoder,
    text_config,
    vision_config,
)
from rsvl.modules.encoders.position import grid_position
from rsvl.modules.encoders.stem import ConvStem
from rsvl.modules.layers.attention import Attention, padding_bias
from rsvl.modules.layers.convolutions import separable
from rsvl.modules.layers.rotated_conv import RotatedConv2d
from rsvl.modules.layers.rows import take_rows
from rsvl.modules.losses.contrast import PRIOR_LOGIT, contrast_logits, contrast_loss
from rsvl.modules.tokenizers.clip import clip_tokenizer_json
from rsvl.modules.tokenizers.words import overhead_tokenizer_json
from rsvl.modules.trained_images import RRSIS_D_RESOLUTION, RRSIS_D_SIDE, SYNTHETIC_RESOLUTION
from rsvl.registry import register
from rsvl.runtime.manifest import SEGMENTATION, ImageSpec, ModelSpec, TensorSpec, TextSpec


@dataclass(frozen=True)
class Preset:
    """Sizes of a CD2FSAN.

    Attributes:
        image_size, patch: pixels of the square input and of a token.
        tokens: words per sentence with start and end token.
        vision, text: (width, layers, heads) of the encoders; their feed-forward layers are four times as wide.
        vocabulary: size of the token vocabulary.
        embed_dim: width of the space shared by image and text, E.
        candidates: first and last layer (counted from 1) that DFSM chooses from.
        stem: widths of a convolutional patch embedding, or none for CLIP's single convolution.
        neck: hidden width of the two 3×3 convolutions on layer 12, or 0 for a 1×1 convolution alone.
        adapter: hidden width of the candidates' adapter.
        text_adapter: (width, layers) of the transformer over CLIP's words.
        width: channels of pyramid and MAAM, C.
        imc: channels of IMC's branches.
        grid_scale: F_V3's side relative to the token grid.
        maam_layers, maam_ffn: attention layers and their feed-forward ratio.
        pool: reduction of keys and values in self-attention.
        stages: (channels, upsample before?) of each decoder stage.
        mask_scale: pixel-shuffle factor of the mask head.
        bases: rotated base kernels of a DRC layer, n.
        dfsm, maam, drcd: the modules of Table 6; switched off for its ablations.
        trained_side, trained_resolution: of the images of the data that it is trained on, see `ImageSpec`.
    """

    image_size: int
    patch: int
    tokens: int
    vision: tuple[int, int, int]
    text: tuple[int, int, int]
    vocabulary: int
    embed_dim: int
    candidates: tuple[int, int]
    stem: tuple[int, ...]
    neck: int
    adapter: int
    text_adapter: tuple[int, int]
    width: int
    imc: int
    grid_scale: int
    maam_layers: int
    maam_ffn: int
    pool: int
    stages: tuple[tuple[int, bool], ...]
    mask_scale: int
    bases: int = 3
    dfsm: bool = True
    maam: bool = True
    drcd: bool = True
    trained_side: int = 0
    trained_resolution: tuple[float, float] = SYNTHETIC_RESOLUTION

    @property
    def grid(self) -> int:
        """Tokens along a side."""
        return self.image_size // self.patch

    @property
    def mask_size(self) -> int:
        """Side of the mask logits in pixels."""
        return self.grid * self.grid_scale * 2 ** sum(up for _, up in self.stages) * self.mask_scale

    @property
    def layers(self) -> int:
        """Number of candidate layers, L."""
        return self.candidates[1] - self.candidates[0] + 1


FULL = Preset(
    image_size=480,
    patch=16,
    tokens=22,
    vision=(768, 12, 12),
    text=(512, 12, 8),
    vocabulary=49408,
    embed_dim=512,
    candidates=(4, 11),
    stem=(),
    neck=1152,
    adapter=1088,
    text_adapter=(768, 3),
    width=256,
    imc=768,
    grid_scale=2,
    maam_layers=1,
    maam_ffn=0,
    pool=4,
    stages=((256, True), (256, False), (256, False)),
    mask_scale=4,
    trained_side=RRSIS_D_SIDE,
    trained_resolution=RRSIS_D_RESOLUTION,
)

TINY = Preset(
    image_size=256,
    patch=16,
    tokens=22,
    vision=(160, 6, 2),
    text=(128, 3, 4),
    vocabulary=1024,
    embed_dim=128,
    candidates=(2, 5),
    stem=(32, 64, 128, 160),
    neck=0,
    adapter=160,
    text_adapter=(0, 0),
    width=128,
    imc=128,
    grid_scale=1,
    maam_layers=2,
    maam_ffn=2,
    pool=2,
    stages=((96, False), (32, True), (16, True)),
    mask_scale=2,
)


def ablations(preset: Preset = FULL) -> dict[str, Preset]:
    """The rows of the paper's Table 6, each with one module more than the row before, by the paper's names."""
    return {
        "Baseline": replace(preset, dfsm=False, maam=False, drcd=False),
        "+DFSM": replace(preset, maam=False, drcd=False),
        "+MAAM": replace(preset, drcd=False),
        "+DRCD (Full Model)": preset,
    }


class DFSM(nn.Module):
    """Dynamic feature selection (3.3): the two candidate layers most similar to the sentence, the lower layer first."""

    def __init__(self, p: Preset) -> None:
        super().__init__()
        hidden = p.vision[0]
        self.adapter = nn.Sequential(
            nn.LayerNorm(hidden), nn.Linear(hidden, p.adapter), nn.GELU(), nn.Linear(p.adapter, p.width)
        )
        self.norm = nn.LayerNorm(hidden)
        self.project = nn.Linear(hidden, p.embed_dim)
        self.select_net = nn.Sequential(
            nn.Linear(p.layers * p.embed_dim, p.embed_dim // 4), nn.GELU(), nn.Linear(p.embed_dim // 4, p.layers)
        )
        self.down2 = nn.Sequential(nn.AvgPool2d(2 // p.grid_scale), separable(p.width, p.width, (3, 3)))
        self.down4 = nn.Sequential(nn.AvgPool2d(4 // p.grid_scale), separable(p.width, p.width, (3, 3)))

    def candidates(self, states: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Adapted tokens [B, L, N, C] and pooled features V [B, L, E] (unit length) of states L × [B, 1 + N, D]."""
        stacked = torch.stack(states, dim=1)
        pooled = self.project(self.norm(stacked[:, :, 0]))
        return self.adapter(stacked[:, :, 1:]), F.normalize(pooled.float(), dim=-1)

    def scores(self, pooled: Tensor, sentence: Tensor) -> Tensor:
        """S: softmax over the candidates [B, L] from V [B, L, E] and F_T [B, E]."""
        score = pooled * F.normalize(sentence.float(), dim=-1)[:, None]
        return (self.select_net(score.flatten(1)) + score.sum(-1)).softmax(dim=-1)

    def forward(self, layers: Tensor, pooled: Tensor, sentence: Tensor) -> tuple[Tensor, Tensor]:
        """Chooses F_V1 and F_V2, tokens [B, N, C] each, from [B, L, N, C]."""
        scores = self.scores(pooled, sentence)
        top = scores.topk(2, dim=1).indices
        ordered = torch.stack([top.amin(1), top.amax(1)], dim=1)
        chosen = take_rows(layers, ordered)
        if self.training:  # straight-through: the value of 1, the gradient of S
            weight = scores.gather(1, ordered)
            chosen = chosen * (weight / weight.detach())[:, :, None, None]
        return chosen[:, 0], chosen[:, 1]


class IMC(nn.Module):
    """Image multi-scale convolution (3.4, Figure 4b)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()

        def branch(*kernels: tuple[int, int]) -> nn.Sequential:
            directional = [separable(hidden, hidden, k) for k in kernels]
            return nn.Sequential(*directional, separable(hidden, hidden, (3, 3), dilation=5))

        self.reduce = nn.Conv2d(width, hidden, 1)
        self.branch1 = separable(hidden, hidden, (3, 3))
        self.branch2 = branch((1, 3), (3, 1))
        self.branch3 = branch((3, 1), (1, 3))
        self.merge = nn.Conv2d(3 * hidden, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H, W]."""
        y = self.reduce(x)
        return self.merge(torch.cat([self.branch1(y), self.branch2(y), self.branch3(y)], dim=1)) + x


class TMC(nn.Module):
    """Text multi-scale convolution (3.4, Figure 4c): 1-D convolutions over the words, padding kept at zero."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(width_in, width, 1)
        self.conv2 = nn.Conv1d(width_in + width, width, 3, padding=1)
        self.conv3 = nn.Conv1d(2 * width, width, 3, padding=1)

    def forward(self, words: Tensor, is_word: Tensor) -> Tensor:
        """Words [B, T, D] and which are words, 0/1 [B, T] → [B, T, C]."""
        keep = is_word[:, None].to(words.dtype)
        words = words.transpose(1, 2) * keep
        words1 = F.gelu(self.conv1(words)) * keep
        words2 = F.gelu(self.conv2(torch.cat([words, words1], dim=1))) * keep
        return (self.conv3(torch.cat([words1, words2], dim=1)) + words1).transpose(1, 2)


class AlignmentLayer(nn.Module):
    """Multi-scale self-attention, cross-attention to the words, feed-forward (3.4, Figure 4a)."""

    def __init__(self, p: Preset) -> None:
        super().__init__()
        heads = p.width // 64
        self.pool = p.pool
        self.norm1, self.norm2 = nn.LayerNorm(p.width), nn.LayerNorm(p.width)
        self.self_attention = Attention(p.width, heads)
        self.cross_attention = Attention(p.width, heads)
        hidden = p.maam_ffn * p.width
        self.feed_forward = (
            nn.Sequential(nn.LayerNorm(p.width), nn.Linear(p.width, hidden), nn.GELU(), nn.Linear(hidden, p.width))
            if hidden
            else None
        )

    def forward(self, x: Tensor, words: Tensor, bias: Tensor) -> Tensor:
        """F_F [B, C, H, W], words [B, T, C] and their padding bias [B, T] → [B, C, H, W]."""
        size = x.shape[-2:]
        tokens = x.flatten(2).transpose(1, 2)
        normed = self.norm1(tokens)
        context = normed
        if self.pool > 1:
            grid = normed.transpose(1, 2).unflatten(2, size)
            context = F.avg_pool2d(grid, self.pool).flatten(2).transpose(1, 2)
        tokens = tokens + self.self_attention(normed, context)
        tokens = tokens + self.cross_attention(self.norm2(tokens), words, bias)
        if self.feed_forward is not None:
            tokens = tokens + self.feed_forward(tokens)
        return tokens.transpose(1, 2).unflatten(2, size)


class DRC(nn.Module):
    """Dynamic rotation correction (3.5): predicts angles and gates per sample and convolves with rotated kernels."""

    def __init__(self, channels_in: int, channels: int, bases: int, pool: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(pool)
        self.depthwise = nn.Conv2d(channels_in, channels_in, 3, padding=1, groups=channels_in, bias=False)
        self.route_norm = nn.LayerNorm(channels_in)
        self.gate = nn.Linear(channels_in, bases)
        self.angle = nn.Linear(channels_in, bases, bias=False)
        self.conv = RotatedConv2d(channels_in, channels, 3, bases)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.normal_(self.angle.weight, std=0.02)

    def route(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Angles θ in radians, (-π, π), and gates λ in (0, 1), each [B, n]."""
        y = self.depthwise(self.pool(x)).permute(0, 2, 3, 1)
        y = F.relu(self.route_norm(y)).mean(dim=(1, 2))
        return math.pi * F.softsign(self.angle(y)), self.gate(y).sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """[B, Cin, H, W] → [B, C, H, W]."""
        theta, gate = self.route(x)
        return F.gelu(self.norm(self.conv(x, theta, gate)))


class TextAdapter(nn.Module):
    """Transformer layers over CLIP's words, whose result is added to them; adds nothing before it is trained."""

    def __init__(self, width: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(width, hidden), nn.Linear(hidden, width)
        config = CLIPTextConfig(
            hidden_size=hidden, intermediate_size=4 * hidden, num_attention_heads=hidden // 64, num_hidden_layers=layers
        )
        config._attn_implementation = "sdpa"
        self.encoder = CLIPEncoder(config)  # type: ignore[arg-type]
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, words: Tensor, bias: Tensor) -> Tensor:
        """Words [B, T, D] and padding bias [B, T] → [B, T, D]."""
        x = self.enter(words)
        for layer in self.encoder.layers:
            x = layer(x, bias[:, None, None, :].to(x.dtype))
        return words + self.leave(x)


@register("cd2fsan", presets={"cd2fsan": FULL, "cd2fsan-tiny": TINY})
class CD2FSAN(ReferringSegmenter):
    """The network of Figure 2.

    Args:
        name: the preset's name.
        preset: its sizes.
    """

    position: Tensor

    def __init__(self, name: str, preset: Preset) -> None:
        super().__init__()
        p = self.preset = preset
        self.spec = _spec(name, p)
        self.keep_fp32 = {"mask": "float16 steps of 0.004 at the prior's logit, -4.6, shift the whole mask's border"}
        self.image_encoder = CLIPImageEncoder(
            vision_config(p.vision, p.image_size, p.patch), p.embed_dim, ConvStem(p.stem) if p.stem else None
        )
        self.text_encoder = CLIPTextEncoder(text_config(p.text, p.tokens, p.vocabulary), p.embed_dim)
        self.neck = _neck(p)
        self.text_adapter = TextAdapter(p.text[0], *p.text_adapter) if p.text_adapter[1] else None
        self.sentence_gain = nn.Linear(p.embed_dim, p.width)
        if p.dfsm:
            self.dfsm = DFSM(p)
            self.aggregate = nn.Conv2d(3 * p.width, p.width, 1)
        if p.maam:
            self.imc = IMC(p.width, p.imc)
            self.tmc = TMC(p.text[0], p.width)
            self.align = nn.ModuleList(AlignmentLayer(p) for _ in range(p.maam_layers))
            self.register_buffer("position", grid_position(p.width, p.grid * p.grid_scale), persistent=False)
        self._build_decoder(p)
        self._start_from_nothing()

    def _build_decoder(self, p: Preset) -> None:
        channels = p.stages[0][0]
        self.reduce = nn.Sequential(nn.Conv2d(p.width, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.GELU())
        self.details = nn.ModuleList(nn.Conv2d(c, out, 1) for c, out, _ in _details(p))
        self.detail_gains = nn.ModuleList(nn.Linear(p.embed_dim, out) for _, out, _ in _details(p))
        self.contrast_bias = nn.Parameter(torch.tensor(PRIOR_LOGIT))
        if p.drcd:
            widths = [channels, *(width for width, _ in p.stages)]
            pools = [p.grid_scale * 2**ups for ups in accumulate(up for _, up in p.stages)]
            self.drc = nn.ModuleList(
                DRC(a, b, p.bases, pool) for (a, b), pool in zip(pairwise(widths), pools, strict=True)
            )
            channels = widths[-1]
        self.mask = nn.Conv2d(channels, p.mask_scale**2, 1)
        nn.init.constant_(self.mask.bias, PRIOR_LOGIT)  # type: ignore[arg-type]

    def _start_from_nothing(self) -> None:
        """Starting values for training without a checkpoint: places are told apart, gains start around 1."""
        self.image_encoder.start_positions()
        for gain in (self.sentence_gain, *self.detail_gains):
            nn.init.ones_(gain.bias)

    def encode_image(self, image: Tensor) -> tuple[Tensor, ...]:
        """All of the network that does not depend on the sentence.

        Returns:
            `top`: F_V3 after IMC [B, C, H, W]; with DFSM `layers` [B, L, N, C] and `globals` [B, L, E]; with a stem one
            detail map [B, c, h, w] for each decoder stage that upsamples.
        """
        states, maps = self.image_encoder(image)
        top = self.neck(self._grid(states[-1][:, 1:]))
        if self.preset.maam:
            top = self.imc(top)
        features = [top]
        if self.preset.dfsm:
            first, last = self.preset.candidates
            features += self.dfsm.candidates(states[first - 1 : last])
        details = [layer(maps[index]) for layer, (_, _, index) in zip(self.details, _details(self.preset), strict=True)]
        return (*features, *details)

    def encode_text(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """F_T as `sentence` [B, E]; with MAAM the words after TMC [B, T, C] and their padding bias [B, T]."""
        words, sentence, is_word = self.text_encoder(tokens)
        bias = padding_bias(is_word)
        if self.text_adapter is not None:
            words = self.text_adapter(words, bias)
            sentence = self.text_encoder.sentence(words, tokens.argmax(dim=-1))
        return (sentence, self.tmc(words, is_word), bias) if self.preset.maam else (sentence,)

    def head(self, *features: Tensor) -> tuple[Tensor]:
        """Everything after the encoders: selection, aggregation to F_F, alignment to F_A, decoding."""
        p = self.preset
        image, text = features[: self._image_features], features[self._image_features :]
        top, details, sentence = image[0], image[len(image) - len(self.details) :], text[0]
        levels = [top]
        if p.dfsm:
            low, middle = self.dfsm(image[1], image[2], sentence)
            levels = [self.dfsm.down4(self._grid(low)), self.dfsm.down2(self._grid(middle))]
            levels = [*(self.imc(x) if p.maam else x for x in levels), top]
        gain = self.sentence_gain(sentence)[:, :, None, None]
        x = self._aggregate([level * gain for level in levels])
        if p.maam:
            x = x + self.position.to(x.dtype)
            for layer in self.align:
                x = layer(x, *text[1:])
        return (self._decode(x, self._conditioned(details, sentence)),)

    def auxiliary_loss(
        self,
        image: tuple[Tensor, ...],
        text: tuple[Tensor, ...],
        image_index: Tensor,
        masks: Tensor,
        class_masks: Tensor | None,
    ) -> Tensor:
        """Text-to-pixel contrast on the features that the sentence multiplies (`rsvl.modules.losses.contrast`)."""
        similarity = self._similarity(image, text[0], masks.shape[-1] // self.preset.mask_scale)
        return contrast_loss(self.loss, similarity, image_index, masks, class_masks)

    def _similarity(self, image: tuple[Tensor, ...], sentence: Tensor, size: int) -> Tensor:
        """Logits [N, B, size, size] of N sentences [N, E] at the pixels of B images."""
        features = (image[0], *image[len(image) - len(self.details) :])
        return contrast_logits(
            features,
            (self.sentence_gain, *self.detail_gains),
            sentence,
            self.contrast_bias,
            size,  # type: ignore[arg-type]
        )

    def _conditioned(self, details: tuple[Tensor, ...], sentence: Tensor) -> list[Tensor]:
        gains = [gain(sentence)[:, :, None, None] for gain in self.detail_gains]
        return [detail * gain for detail, gain in zip(details, gains, strict=True)]

    @property
    def _image_features(self) -> int:
        return len(self.spec.graphs[0].outputs)

    def _aggregate(self, levels: list[Tensor]) -> Tensor:
        if len(levels) == 1:
            return levels[0]
        size = levels[-1].shape[-2:]
        resized = [F.interpolate(x, size=size, mode="bilinear") for x in levels[:-1]]
        return self.aggregate(torch.cat([*resized, levels[-1]], dim=1))

    def _decode(self, x: Tensor, details: list[Tensor]) -> Tensor:
        x = self.reduce(x)
        remaining = list(details)
        for index, (_, upsample) in enumerate(self.preset.stages):
            if upsample:
                x = F.interpolate(x, scale_factor=2, mode="bilinear")
                if remaining:
                    x = x + remaining.pop(0)
            if self.preset.drcd:
                x = self.drc[index](x)
        return F.pixel_shuffle(self.mask(x), self.preset.mask_scale)

    def _grid(self, tokens: Tensor) -> Tensor:
        return tokens.transpose(1, 2).unflatten(2, (self.preset.grid, self.preset.grid))

    def tokenizer_json(self) -> str:
        """CLIP's tokenizer, or for a small vocabulary the one that ships with the tiny presets."""
        if self.preset.vocabulary == FULL.vocabulary:
            return clip_tokenizer_json()
        return overhead_tokenizer_json()


def _neck(p: Preset) -> nn.Sequential:
    """Layer 12's tokens [B, D, h, w] to F_V3 [B, C, H, W]."""

    def conv(a: int, b: int, kernel: int) -> list[nn.Module]:
        return [nn.Conv2d(a, b, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(b), nn.GELU()]

    hidden = p.vision[0]
    layers = [*conv(hidden, p.neck, 3), *conv(p.neck, p.width, 3)] if p.neck else conv(hidden, p.width, 1)
    return nn.Sequential(
        *layers, *([nn.Upsample(scale_factor=p.grid_scale, mode="bilinear")] if p.grid_scale > 1 else [])
    )


def _details(p: Preset) -> list[tuple[int, int, int]]:
    """(stem channels, decoder channels, index of the stem's map) of every upsampling decoder stage."""
    if not p.stem:
        return []
    inputs = [p.stages[0][0], *(width for width, _ in p.stages)]
    wanted = [channels for channels, (_, up) in zip(inputs, p.stages, strict=False) if up]
    indices = range(len(p.stem) - 2, len(p.stem) - 2 - len(wanted), -1)
    return [(p.stem[i], channels, i) for channels, i in zip(wanted, indices, strict=True)]


def _spec(name: str, p: Preset) -> ModelSpec:
    side = p.grid * p.grid_scale
    image = ImageSpec(
        size=p.image_size,
        mean=CLIP_MEAN,
        std=CLIP_STD,
        trained_side=p.trained_side,
        trained_resolution=p.trained_resolution,
        keep_aspect=True,
    )
    image_features = [TensorSpec("top", ("batch", p.width, side, side))]
    if p.dfsm:
        image_features += [
            TensorSpec("layers", ("batch", p.layers, p.grid**2, p.width)),
            TensorSpec("globals", ("batch", p.layers, p.embed_dim)),
        ]
    for number, (_, channels, index) in enumerate(_details(p)):
        detail = p.image_size // 2 ** (index + 1)
        image_features.append(TensorSpec(f"detail{number}", ("batch", channels, detail, detail)))
    text_features = [TensorSpec("sentence", ("batch", p.embed_dim))]
    if p.maam:
        text_features += [
            TensorSpec("words", ("batch", p.tokens, p.width)),
            TensorSpec("padding", ("batch", p.tokens)),
        ]
    return ModelSpec(
        name=name,
        task=SEGMENTATION,
        paper="CD2FSAN: CLIP-Driven with Dynamic Feature Selection and Alignment Network (Remote Sensing 2025)",
        images=(image,),
        text=TextSpec(tokens=p.tokens),
        graphs=segmentation_graphs(image, p.tokens, image_features, text_features, p.mask_size),
        threshold=0.35,
    )
