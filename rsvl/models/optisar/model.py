"""OptiSAR-Net++: visual grounding in optical and SAR images by matching regions with sentences.

"OptiSAR-Net++: A Large-Scale Benchmark and Transformer-Free Framework for Cross-Domain Remote Sensing Visual
Grounding", arXiv, March 2026. Only its abstract is public here. It names the parts: patch-level low-rank experts
(PL-MoE), a CLIP-based contrastive paradigm with dynamic adversarial negative sampling in place of a transformer
decoder, text-guided dual-gate fusion (TGDF-SSA) and a region-aware auxiliary head. Everything else was chosen here:

* Backbone: a convolutional stem that halves the map five times; after each stage blocks of a depthwise 5×5 convolution
  and two linear layers with low-rank experts (PL-MoE). One router a block chooses each cell's experts for both layers.
* Optical and SAR images take the same way, SAR as grey in three channels: nothing tells the network which sensor it was
  but the pixels, and the routers part the two, patch by patch. A load-balance loss keeps all experts in use.
* Neck: top-down, one PL-MoE block per level; a level gets its cells' places by sines and cosines.
* Regions: every cell of every level, without anchors. A cell has an embedding of unit length and a box, whose sides are
  distributions over distances (Generalized Focal Loss). Strides 8, 16 and 32 in the full preset; the tiny one has
  stride 4, too, because a quarter of the objects it is to find are smaller than two cells of stride 8.
* The text encoder is CLIP's, which is a transformer ("transformer-free" is said of the visual side and the decoding).
  A sentence gives its end token's embedding, and a few phrases: means of its words, weighted by learned attention.
* Matching: cosine of region and sentence, scaled, plus an offset. A vocabulary of sentences is one matrix product.
* TGDF-SSA, taken as text-guided dual-gate fusion with strip spatial aggregation: on one level of the pyramid, each
  phrase opens a spatial gate (where its likeness is) and a semantic gate (which channels it speaks of) on its share of
  the channels; what passes both is spread along rows and columns over the whole map (`rsvl.models.optisar.strips`),
  since what sentences relate lies apart. It runs for each sentence, on a map of 32×32 (tiny) or 40×40 cells.
* The fused map adds its logit to every region's match; the K best regions by the sum are the candidates. A small
  network sees each one's fused features, its embedding gated by the sentence, its box, its score and the maximum of
  these over the candidates ("largest", "leftmost" compare), re-scores it and moves its box by at most half its size.
* Assignment: task-aligned (TOOD), by match and IoU among the cells inside the sentence's box.
* Contrast: a sentence's own regions against its image's highest-rated false ones, its best region against the
  other sentences about the image that name something else; both found anew in every step. Regions of other images are
  no negatives: what is unique in one scene may well be true in another.
* A no-target sentence is a negative for all regions of its image.
* Region-aware auxiliary head (training only): features of the finest level times the sentence are a mask of the box
  (focal and Dice loss), which teaches the encoders directly.
* Sizes of the full preset: 640×640, CLIP ViT-B's text encoder, a backbone between YOLOv8's M and L in operations.

`ablations` switches PL-MoE for one shared expert and for one expert per sensor, at equal parameters and operations. The
latter must know the sensor: it takes an image without colour for SAR.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.models.optisar.assignment import centres_inside, task_aligned
from rsvl.models.optisar.box_distribution import BoxDistribution, small_first
from rsvl.models.optisar.boxes import box_iou, complete_iou
from rsvl.models.optisar.region_matching import Targets, candidate_losses, mask_loss, match_losses
from rsvl.models.optisar.strips import StripConv
from rsvl.modules.bases.grounding import VisualGrounder, grounding_graphs
from rsvl.modules.encoders.clip import CLIP_MEAN, CLIP_STD, CLIPTextEncoder, Size, text_config
from rsvl.modules.encoders.position import grid_position
from rsvl.modules.encoders.stem import ConvStem
from rsvl.modules.layers.attention import padding_bias
from rsvl.modules.layers.convolutions import separable
from rsvl.modules.layers.lora_moe import LoRAMoE, TopKRouter, take_balance_loss
from rsvl.modules.layers.rows import take_rows
from rsvl.modules.losses.contrast import PRIOR_LOGIT
from rsvl.modules.tokenizers.clip import VOCABULARY_SIZE, clip_tokenizer_json
from rsvl.modules.tokenizers.words import overhead_tokenizer_json
from rsvl.modules.trained_images import SYNTHETIC_RESOLUTION
from rsvl.registry import register
from rsvl.runtime.manifest import GROUNDING, ImageSpec, ModelSpec, TensorSpec, TextSpec

#: What a cosine is multiplied by, before training and at most.
START_SCALE, MAX_SCALE = 10.0, 100.0
#: Most cells that learn a sentence's box.
ASSIGNED = 9
#: How much each term of the loss counts.
WEIGHTS = {
    "match": 1.0,
    "fused": 1.0,
    "contrast": 0.5,
    "boxes": 2.0,
    "distances": 0.5,
    "candidates": 1.0,
    "best": 1.0,
    "refined": 1.0,
    "mask": 1.0,
    "balance": 0.01,
}


@dataclass(frozen=True)
class Preset:
    """Sizes of an OptiSAR-Net++.

    Attributes:
        image_size: pixels of the square input.
        stem: channels after each halving.
        depths: PL-MoE blocks after each halving.
        finest: the halving that gives the pyramid's finest level, counted from 0.
        width: channels of the neck, C.
        experts, rank, top_k: of PL-MoE; with another `routing` the same total rank is one expert, or two.
        routing: ``patch``, or for the ablations ``shared`` or ``sensor``.
        embed_dim: length of region and sentence embeddings, E.
        bins: distances of a box's side, in strides.
        tokens, text, vocabulary: words per sentence, (width, layers, heads) of the text encoder, its vocabulary.
        fusion_level: the pyramid's level that TGDF-SSA works on, counted from the finest.
        fusion, fusion_layers: its channels, D, and layers.
        phrases, strips: phrases of a sentence, G, and kernels of each; their product divides D.
        candidates: regions looked at closer, K.
        hidden: width of the network that does so.
    """

    image_size: int
    stem: tuple[int, ...]
    depths: tuple[int, ...]
    finest: int
    width: int
    experts: int
    rank: int
    top_k: int
    embed_dim: int
    bins: int
    tokens: int
    text: Size
    vocabulary: int
    fusion_level: int
    fusion: int
    fusion_layers: int
    phrases: int
    strips: int
    candidates: int
    hidden: int
    routing: str = "patch"

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the pyramid's levels, in pixels, the finest first."""
        return tuple(2 ** (stage + 1) for stage in range(self.finest, len(self.stem)))

    @property
    def sides(self) -> tuple[int, ...]:
        """Cells along a side of each level."""
        return tuple(self.image_size // stride for stride in self.strides)

    @property
    def regions(self) -> int:
        """Cells of all levels, R."""
        return sum(side**2 for side in self.sides)

    @property
    def fusion_side(self) -> int:
        """Cells along a side of the map that TGDF-SSA works on."""
        return self.sides[self.fusion_level]


TINY = Preset(
    image_size=256,
    stem=(32, 64, 128, 160, 192),
    depths=(0, 0, 1, 2, 1),
    finest=1,
    width=80,
    experts=4,
    rank=4,
    top_k=2,
    embed_dim=128,
    bins=8,
    tokens=22,
    text=(128, 3, 4),
    vocabulary=1024,
    fusion_level=1,
    fusion=96,
    fusion_layers=2,
    phrases=4,
    strips=4,
    candidates=64,
    hidden=128,
)


def ablations(preset: Preset = TINY) -> dict[str, Preset]:
    """PL-MoE, one shared expert and one expert per sensor, at equal parameters (but for the routers) and products."""
    total = preset.experts * preset.rank
    return {
        "PL-MoE": preset,
        "one shared expert": replace(preset, routing="shared", experts=1, rank=total, top_k=1),
        "one expert per sensor": replace(preset, routing="sensor", experts=2, rank=total // 2, top_k=1),
    }


class PLMoE(nn.Module):
    """Depthwise convolution, then two linear layers with low-rank experts, each cell using its own; residual."""

    def __init__(self, channels: int, p: Preset) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 5, padding=2, groups=channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.router = TopKRouter(channels, p.experts, p.top_k) if p.routing == "patch" else None
        self.enter = LoRAMoE(channels, 2 * channels, p.experts, p.rank, p.top_k, routed=False)
        self.leave = LoRAMoE(2 * channels, channels, p.experts, p.rank, p.top_k, routed=False)

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H, W]; `gate` [B, 1, 1, E] is of the image where no router chooses by the patch."""
        y = self.norm(self.depthwise(x)).permute(0, 2, 3, 1)
        if self.router is not None:
            gate = self.router(y)
        y = self.leave(F.gelu(self.enter(y, gate)), gate)
        return x + y.permute(0, 3, 1, 2)


class Backbone(nn.Module):
    """The stem with PL-MoE blocks after its stages."""

    def __init__(self, p: Preset) -> None:
        super().__init__()
        self.stem = ConvStem(p.stem)
        self.blocks = nn.ModuleList(
            Blocks(PLMoE(channels, p) for _ in range(depth)) for channels, depth in zip(p.stem, p.depths, strict=True)
        )

    def forward(self, x: Tensor, gate: Tensor) -> list[Tensor]:
        """Image [B, 3, S, S] → its maps at strides 2, 4, 8 and on."""
        maps = []
        for stage, blocks in zip(self.stem.stages, self.blocks, strict=True):
            x = blocks(stage(x), gate)
            maps.append(x)
        return maps


class Blocks(nn.ModuleList):
    """PL-MoE blocks in a row, all given the same gate."""

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H, W]."""
        for block in self:
            x = block(x, gate)
        return x


class NeckLevel(nn.Module):
    """One level of the neck: its map and the coarser level's, their cells' places, a PL-MoE block."""

    position: Tensor

    def __init__(self, channels: int, side: int, p: Preset) -> None:
        super().__init__()
        self.lateral = nn.Sequential(nn.Conv2d(channels, p.width, 1, bias=False), nn.BatchNorm2d(p.width))
        self.block = PLMoE(p.width, p)
        self.register_buffer("position", grid_position(p.width, side), persistent=False)

    def forward(self, x: Tensor, above: Tensor | None, gate: Tensor) -> Tensor:
        """Map [B, c, h, w] and the coarser level [B, C, h/2, w/2] → [B, C, h, w]."""
        x = self.lateral(x) + self.position
        if above is not None:
            x = x + F.interpolate(above, scale_factor=2.0, mode="nearest")
        return self.block(x, gate)


class RegionHead(nn.Module):
    """The embedding and the box of each cell of a level."""

    def __init__(self, p: Preset) -> None:
        super().__init__()
        self.embed = nn.Sequential(separable(p.width, p.width, (3, 3)), nn.Conv2d(p.width, p.embed_dim, 1))
        distances = nn.Conv2d(p.width, 4 * p.bins, 1)
        nn.init.normal_(distances.weight, std=0.01)
        distances.bias = nn.Parameter(small_first(p.bins))
        self.distances = nn.Sequential(separable(p.width, p.width, (3, 3)), distances)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C, h, w] → embeddings of unit length [B, h·w, E] and distances' logits [B, h·w, 4·bins]."""
        embedding, distances = (branch(x).flatten(2).transpose(1, 2) for branch in (self.embed, self.distances))
        return F.normalize(embedding.float(), dim=-1), distances


class Match(nn.Module):
    """The logit that a region is what a sentence names: their cosine, scaled, plus an offset."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(START_SCALE)))
        self.offset = nn.Parameter(torch.tensor(PRIOR_LOGIT))

    def forward(self, regions: Tensor, sentence: Tensor, image_index: Tensor | None = None) -> Tensor:
        """Logits [N, R] of regions [B, R, E] for sentences [N, E], each about the image of `image_index` [N]."""
        if image_index is None:
            cosine = (regions @ sentence.unsqueeze(-1)).squeeze(-1)
        else:  # all pairs: cheaper than every sentence's copy of its image's regions
            every = (regions @ sentence.T).permute(2, 0, 1)  # [N, B, R]
            cosine = every[torch.arange(len(sentence), device=every.device), image_index]
        return cosine * self.log_scale.exp().clamp(max=MAX_SCALE) + self.offset


class Phrases(nn.Module):
    """Means of a sentence's words by learned attention, projected to the fusion's width."""

    def __init__(self, p: Preset) -> None:
        super().__init__()
        self.attend = nn.Linear(p.text[0], p.phrases)
        self.project = nn.Linear(p.text[0], p.fusion)

    def forward(self, words: Tensor, is_word: Tensor) -> Tensor:
        """Words [N, T, d] and which are words, bool [N, T] → [N, G, D]."""
        weight = (self.attend(words) + padding_bias(is_word).unsqueeze(-1).to(words.dtype)).softmax(dim=1)
        return self.project(weight.transpose(1, 2) @ words)


class DualGate(nn.Module):
    """One layer of TGDF-SSA: each phrase gates its share of the channels, in place and in meaning; the rest spreads."""

    def __init__(self, p: Preset) -> None:
        super().__init__()
        self.phrases, width = p.phrases, p.fusion
        self.norm = nn.LayerNorm(width)
        self.where, self.what = nn.Linear(width, width), nn.Linear(width, width // p.phrases)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.spread = StripConv(p.phrases * p.strips, p.fusion_side)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
        )

    def forward(self, x: Tensor, phrases: Tensor) -> Tensor:
        """Cells [N, h·w, D] and phrases [N, G, D] → [N, h·w, D]."""
        y = self.norm(x)
        likeness = y @ self.where(phrases).transpose(1, 2) / math.sqrt(y.shape[-1])  # [N, h·w, G]
        spatial, semantic = likeness.sigmoid().unsqueeze(-1), self.what(phrases).sigmoid().unsqueeze(1)
        value = self.value(y).unflatten(-1, (self.phrases, -1)) * spatial * semantic
        x = x + self.out(F.gelu(self.spread(value.flatten(-2))))
        return x + self.feed_forward(x)


class TGDF(nn.Module):
    """Text-guided dual-gate fusion with strip spatial aggregation, and what it says of every region."""

    def __init__(self, p: Preset) -> None:
        super().__init__()
        self.side = p.fusion_side
        self.sides = p.sides
        self.layers = nn.ModuleList(DualGate(p) for _ in range(p.fusion_layers))
        self.norm = nn.LayerNorm(p.fusion)
        self.logits = nn.Linear(p.fusion, sum(self._channels()))
        nn.init.zeros_(self.logits.weight)
        nn.init.zeros_(self.logits.bias)

    def _channels(self) -> list[int]:
        """Logits of one cell of the fused map for each level: one for each finer cell in it."""
        return [max(1, side // self.side) ** 2 for side in self.sides]

    def forward(self, context: Tensor, phrases: Tensor) -> tuple[Tensor, Tensor]:
        """Cells of the map [N, h·w, D] and phrases [N, G, D] → fused cells [N, h·w, D] and logits [N, R]."""
        for layer in self.layers:
            context = layer(context, phrases)
        context = self.norm(context)
        grid = self.logits(context).transpose(1, 2).unflatten(2, (self.side, self.side))
        planes = []
        for part, side in zip(grid.split(self._channels(), dim=1), self.sides, strict=True):
            finer = F.pixel_shuffle(part, side // self.side) if side > self.side else part
            planes.append(F.avg_pool2d(finer, self.side // side) if side < self.side else finer)
        return context, torch.cat([plane.flatten(1) for plane in planes], dim=1)


class Refine(nn.Module):
    """Looks closer at the candidates: scores them anew, seen beside each other, and moves their boxes a little."""

    def __init__(self, p: Preset) -> None:
        super().__init__()
        self.scale = math.sqrt(p.embed_dim)
        self.gate = nn.Linear(p.embed_dim, p.embed_dim)
        self.enter = nn.Linear(p.fusion + p.embed_dim + 5, p.hidden)
        self.beside = nn.Linear(2 * p.hidden, p.hidden)
        self.out = nn.Linear(p.hidden, 5)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(
        self, fused: Tensor, regions: Tensor, boxes: Tensor, logits: Tensor, sentence: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Candidates' features [N, K, D], embeddings [N, K, E], boxes [N, K, 4], logits [N, K]; sentences [N, E].

        Returns:
            Logits [N, K] and boxes [N, K, 4].
        """
        conditioned = regions * self.gate(sentence * self.scale).sigmoid().unsqueeze(1) * self.scale
        centre, size = (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]).clamp(min=1e-3)
        seen = torch.cat([fused, conditioned, centre * 4 - 2, size.log() / 2 + 1, logits.unsqueeze(-1) / 4], dim=-1)
        hidden = F.gelu(self.enter(seen))
        best = hidden.amax(dim=1, keepdim=True).expand_as(hidden)
        score, shift, growth = self.out(F.gelu(self.beside(torch.cat([hidden, best], dim=-1)))).split([1, 2, 2], dim=-1)
        centre, half = centre + shift.tanh() * size / 2, size * torch.exp2(growth.tanh()) / 2
        return logits + score.squeeze(-1), torch.cat([centre - half, centre + half], dim=-1)


class RegionAwareHead(nn.Module):
    """The auxiliary head: a mask of the box from the finest level and the sentence. Training only."""

    def __init__(self, p: Preset) -> None:
        super().__init__()
        self.embed = nn.Sequential(separable(p.width, p.width, (3, 3)), nn.Conv2d(p.width, p.embed_dim, 1))
        self.scale, self.offset = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(PRIOR_LOGIT))

    def forward(self, finest: Tensor, sentence: Tensor, image_index: Tensor) -> Tensor:
        """Level [B, C, h, w], sentences [N, E] and the image of each [N] → logits [N, 1, h, w]."""
        every = F.conv2d(self.embed(finest), sentence[:, :, None, None].to(finest.dtype)).transpose(0, 1)
        own = every[torch.arange(len(sentence), device=every.device), image_index].unsqueeze(1)
        return own.float() * self.scale + self.offset


@dataclass
class EncodedBatch:
    """An image's features: the finest level [B, C, h, w], regions [B, R, E], their distances' logits [B, R, 4·bins] and
    boxes [B, R, 4], and the cells that TGDF-SSA works on [B, h·w, D].
    """

    finest: Tensor
    regions: Tensor
    distances: Tensor
    boxes: Tensor
    context: Tensor


@register("optisar-net++", presets={"optisar-net++-tiny": TINY})
class OptiSARNet(VisualGrounder):
    """The network.

    Args:
        name: the preset's name.
        preset: its sizes.
    """

    cell_of_region: Tensor

    def __init__(self, name: str, preset: Preset) -> None:
        super().__init__()
        p = self.preset = preset
        self.spec = _spec(name, p)
        self.keep_fp32 = {
            "*.router": "two logits that differ less than float16 can tell would choose other experts",
            "decode": "float16 places a box of a few pixels only to a third of a pixel",
            "match": "float16 steps of 0.004 at the prior's logit, -4.6, reorder the candidates",
            "refine": "its scores order the boxes, and are those that a threshold is set for",
        }
        self.text_encoder = CLIPTextEncoder(text_config(p.text, p.tokens, p.vocabulary), p.embed_dim)
        self.phrases = Phrases(p)
        self.image_encoder = Backbone(p)
        self.neck = nn.ModuleList(NeckLevel(c, side, p) for c, side in zip(p.stem[p.finest :], p.sides, strict=True))
        self.region_heads = nn.ModuleList(RegionHead(p) for _ in p.sides)
        self.decode = BoxDistribution(p.image_size, p.strides, p.bins)
        self.context = nn.Linear(p.width, p.fusion)
        self.match = Match()
        self.tgdf = TGDF(p)
        self.refine = Refine(p)
        self.auxiliary = RegionAwareHead(p)
        self.register_buffer("cell_of_region", _cells_of(self.decode.centres, p.fusion_side), persistent=False)

    def encode_image(self, image: Tensor) -> tuple[Tensor, ...]:
        """`regions` [B, R, E] of unit length, their `boxes` [B, R, 4] in 0…1, `context` [B, h·w, D]."""
        seen = self._encode(image, None)
        return seen.regions, seen.boxes.clamp(0, 1), seen.context

    def encode_text(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """`sentence` [N, E] of unit length, `phrases` [N, G, D]."""
        words, sentence, is_word = self.text_encoder(tokens)
        return F.normalize(sentence.float(), dim=-1), self.phrases(words, is_word)

    def head(self, *features: Tensor) -> tuple[Tensor, Tensor]:
        """All features of both graphs → `scores` [N, K] and `found_boxes` [N, K, 4], best first."""
        regions, boxes, context, sentence, phrases = features
        fused, added = self.tgdf(context, phrases)
        logits = self.match(regions, sentence) + added
        own = torch.arange(regions.shape[0], device=regions.device)
        index = logits.topk(self.preset.candidates, dim=1).indices
        scores, found = self._look_closer(regions, boxes, fused, logits, sentence, own, index)
        scores, order = scores.topk(self.preset.candidates, dim=1)
        return scores, found.gather(1, order.unsqueeze(-1).expand(-1, -1, 4)).clamp(0, 1)

    def loss(
        self,
        images: Tensor,
        tokens: Tensor,
        image_index: Tensor,
        boxes: Tensor,
        has_target: Tensor,
        sar: Tensor | None,
    ) -> Tensor:
        """The sum of `losses`, weighted by `WEIGHTS`; of several objects, a sentence learns the first."""
        terms = self.losses(images, tokens, image_index, boxes[:, 0], has_target[:, 0], sar)
        return torch.stack([WEIGHTS[name] * term for name, term in terms.items()]).sum()

    def losses(
        self,
        images: Tensor,
        tokens: Tensor,
        image_index: Tensor,
        boxes: Tensor,
        has_target: Tensor,
        sar: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The terms of the loss by name, scalars; arguments as those of `forward`."""
        seen = self._encode(images, sar)
        sentence, phrases = self.encode_text(tokens)
        match = self.match(seen.regions, sentence, image_index)
        goal = self._assign(seen, match, image_index, boxes.float(), has_target)
        fused, added = self.tgdf(seen.context.index_select(0, image_index), phrases)
        logits = match + added.float()
        # Every sentence's own regions are among its candidates, found or not.
        index = (logits.detach() + 1e3 * goal.chosen).topk(self.preset.candidates, dim=1).indices
        scores, found = self._look_closer(seen.regions, seen.boxes, fused, logits, sentence, image_index, index)
        mask = self.auxiliary(seen.finest, sentence, image_index)
        balance = take_balance_loss(self)
        return {
            **match_losses(match, logits, goal),
            **self._box_losses(seen, goal),
            **candidate_losses(scores, found, goal),
            "mask": mask_loss(mask, goal),
            **({} if balance is None else {"balance": balance}),
        }

    def _encode(self, image: Tensor, sar: Tensor | None) -> EncodedBatch:
        p, gate = self.preset, self._gate(image, sar)
        levels: list[Tensor] = []
        maps = self.image_encoder(image, gate)[p.finest :]
        for neck, x in zip(reversed(self.neck), reversed(maps), strict=True):
            levels.insert(0, neck(x, levels[0] if levels else None, gate))
        heads = [head(level) for head, level in zip(self.region_heads, levels, strict=True)]
        regions, distances = (torch.cat(parts, dim=1) for parts in zip(*heads, strict=True))
        context = self.context(levels[p.fusion_level].flatten(2).transpose(1, 2))
        return EncodedBatch(levels[0], regions, distances, self.decode(distances), context)

    def _gate(self, image: Tensor, sar: Tensor | None) -> Tensor:
        """Gates of the whole image [B, 1, 1, E], for the routings that do not look at the patch."""
        if self.preset.routing != "sensor":
            return image.new_ones(image.shape[0], 1, 1, 1)
        if sar is None:
            mean, std = (image.new_tensor(values)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
            colours = image * std + mean
            sar = (colours.amax(dim=1) - colours.amin(dim=1)).mean(dim=(1, 2)) < 0.01
        is_sar = sar.to(image.dtype)
        return torch.stack([1 - is_sar, is_sar], dim=1)[:, None, None]

    def _look_closer(
        self,
        regions: Tensor,
        boxes: Tensor,
        fused: Tensor,
        logits: Tensor,
        sentence: Tensor,
        image: Tensor,
        index: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Logits [N, K] and boxes [N, K, 4] of the regions `index` [N, K] of each sentence's image."""
        return self.refine(
            take_rows(fused, self.cell_of_region[index]),
            take_rows(regions, index, image),
            take_rows(boxes, index, image),
            logits.gather(1, index),
            sentence,
        )

    @torch.no_grad()
    def _assign(self, seen: EncodedBatch, match: Tensor, image: Tensor, boxes: Tensor, present: Tensor) -> Targets:
        """Which regions shall learn each sentence's box."""
        finest = self.preset.strides[0] / self.preset.image_size
        inside = centres_inside(self.decode.centres, boxes, least=1.5 * finest) & present[:, None]
        overlap = box_iou(seen.boxes.index_select(0, image), boxes[:, None])
        chosen, quality = task_aligned(match.sigmoid(), overlap, inside, ASSIGNED)
        return Targets(boxes, present, image, chosen, ~inside, quality)

    def _box_losses(self, seen: EncodedBatch, goal: Targets) -> dict[str, Tensor]:
        sentence, region = goal.chosen.nonzero(as_tuple=True)
        weight = goal.quality[sentence, region] / goal.quality.sum().clamp(min=1)
        image, box = goal.image[sentence], goal.boxes[sentence]
        overlap = complete_iou(seen.boxes[image, region], box)
        distance = self.decode.loss(seen.distances[image, region], region, box)
        return {"boxes": ((1 - overlap) * weight).sum(), "distances": (distance * weight).sum()}

    def tokenizer_json(self) -> str:
        """CLIP's tokenizer, or for a small vocabulary the one that ships with the tiny presets."""
        return clip_tokenizer_json() if self.preset.vocabulary == VOCABULARY_SIZE else overhead_tokenizer_json()


def _cells_of(centres: Tensor, side: int) -> Tensor:
    """The cell of a grid of side² that each centre [R, 2] lies in, int64 [R]."""
    column, row = (centres * side).long().unbind(dim=1)
    return row * side + column


def _spec(name: str, p: Preset) -> ModelSpec:
    image = ImageSpec(
        size=p.image_size,
        mean=CLIP_MEAN,
        std=CLIP_STD,
        sensors=("optical", "sar"),
        trained_resolution=SYNTHETIC_RESOLUTION,
        keep_aspect=True,
    )
    more: Sequence[Sequence[TensorSpec]] = (
        [TensorSpec("context", ("batch", p.fusion_side**2, p.fusion))],
        [TensorSpec("phrases", ("batch", p.phrases, p.fusion))],
    )
    return ModelSpec(
        name=name,
        task=GROUNDING,
        paper="OptiSAR-Net++: A Transformer-Free Framework for Cross-Domain Visual Grounding (arXiv 2026)",
        images=(image,),
        text=TextSpec(tokens=p.tokens),
        graphs=grounding_graphs(image, p.tokens, p.regions, p.embed_dim, p.candidates, more),
    )
