"""OptiSAR-Net++ as its authors released it: a convolutional detector whose classes are sentences.

"OptiSAR-Net++: A Transformer-Free Framework for Cross-Domain Visual Grounding", arXiv 2026. A trunk with one PL-MoE
stage, a neck in which the sentence gates the features of three levels (TGDF-SSA), and a head that gives every cell a
box and, by a product with the sentence's embedding, a score. The best-scored cell is the answer: there is no decoder
and no refinement. Training: from scratch but for the text tower, which is frozen; AdamW, 2e-3, weight decay 0.025, 300
epochs.

What differs from the authors' program, with the same answers: what the neck computes of the image alone is done once
for all sentences; sentences do not see each other (their neck takes the best of all prompts at each cell, and their
evaluation asks one at a time); the auxiliary head is left out where nothing is learned.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.models.optisar.assignment import centres_inside, task_aligned
from rsvl.models.optisar.box_distribution import BoxDistribution
from rsvl.models.optisar.boxes import complete_iou
from rsvl.models.optisar.head import LevelHead, PromptAdapter, RegionGrid
from rsvl.models.optisar.moe import LowRankExperts, PatchExperts
from rsvl.models.optisar.network import Neck, Scale, Trunk
from rsvl.modules.bases.grounding import VisualGrounder
from rsvl.modules.encoders.clip import CLIPTextEncoder, Size, text_config
from rsvl.modules.tokenizers.clip import VOCABULARY_SIZE, clip_tokenizer_json
from rsvl.modules.tokenizers.words import overhead_tokenizer_json
from rsvl.modules.trained_images import SYNTHETIC_RESOLUTION
from rsvl.registry import register
from rsvl.runtime.errors import CheckpointError
from rsvl.runtime.manifest import GROUNDING, GraphSpec, ImageSpec, ModelSpec, TensorSpec, TextSpec

STRIDES = (8, 16, 32)
ASSIGNED = 10
"""Most cells that learn one box."""

GUIDES = 2
"""Sentences of an image that guide its neck in a step of the training."""

BESIDE = 0.5
"""How much the score of a sentence counts where another one guided the neck."""

WEIGHTS = {"boxes": 7.5, "distances": 1.5, "scores": 0.5, "grid": 1.0, "balance": 1.5e-3}
"""Of the loss's terms; `balance` is the authors' 1.5 times the 0.001 of their layer."""


@dataclass(frozen=True)
class Preset:
    """Sizes of an OptiSAR-Net++.

    Attributes:
        image_size: pixels of the square input, S.
        scale: of trunk, neck and head.
        tokens: ids per sentence.
        text: (width, layers, heads) of the text tower.
        vocabulary: ids of the text tower.
        candidates: cells that the head gives, K.
        own_text: whether the text tower learns with the rest, and has CLIP's activation; else it is MobileCLIP2's,
            frozen.
        trained_resolution: of the images of the data that it is trained on, see `ImageSpec`.
    """

    image_size: int
    scale: Scale
    tokens: int
    text: Size
    vocabulary: int
    candidates: int
    own_text: bool = False
    trained_resolution: tuple[float, ...] = ()


FULL = Preset(640, Scale(0.5, 1.0, 512, nested=True), 77, (512, 12, 8), VOCABULARY_SIZE, 300)
SCALE_N = Preset(
    256,
    Scale(0.5, 0.25, 1024, nested=False, embed_dim=128, bins=8),
    22,
    (128, 3, 4),
    1024,
    300,
    own_text=True,
    trained_resolution=SYNTHETIC_RESOLUTION,
)
"""The authors' scale n at 256 pixels, with fewer bins and a small text tower of its own."""

_RENAMES = (
    (r"model\.(\d|10)\.", r"trunk.layers.\1."),
    (r"model\.13\.", "neck.merge."),
    (r"model\.16\.", "neck.fuse8."),
    (r"model\.17\.", "neck.down16."),
    (r"model\.19\.", "neck.fuse16."),
    (r"model\.20\.", "neck.down32."),
    (r"model\.22\.", "neck.fuse32."),
    (r"model\.23\.cv2\.(\d)\.", r"heads.\1.box."),
    (r"model\.23\.cv3\.(\d)\.", r"heads.\1.embed."),
    (r"model\.23\.cv4\.(\d)\.", r"heads.\1.contrast."),
    (r"model\.23\.cv_region\.(\d)\.", r"heads.\1.grid."),
    (r"model\.23\.reprta\.m\.", "adapter."),
)
"""Names of the published checkpoint and ours. Its `savpe` never runs, and `dfl` holds the constants 0…15."""

_UNUSED = ("model.23.savpe.", "model.23.dfl.")


@register("optisar-net++", presets={"optisar-net++": FULL, "optisar-net++-n": SCALE_N})
class OptiSARNetPlusPlus(VisualGrounder):
    """The network.

    Args:
        name: the preset's name.
        preset: its sizes.
    """

    def __init__(self, name: str, preset: Preset) -> None:
        super().__init__()
        p, s = preset, preset.scale
        self.preset = p
        self.spec = _spec(name, p)
        self.keep_fp32 = {
            "*.gate": "two logits that differ less than float16 can tell would choose other experts",
            "decode": "float16 places a box of a few pixels only to a third of a pixel",
        }
        activation = "quick_gelu" if p.own_text else "gelu"
        self.text_encoder = CLIPTextEncoder(text_config(p.text, p.tokens, p.vocabulary, activation), s.embed_dim)
        self.text_encoder.requires_grad_(p.own_text)
        self.adapter = PromptAdapter(s.embed_dim)
        self.trunk, self.neck = Trunk(s), Neck(s)
        channels = s.channels(256), s.channels(512), s.channels(1024)
        self.heads = nn.ModuleList(
            LevelHead(width, channels[0], s.embed_dim, stride, p.image_size, s.bins)
            for width, stride in zip(channels, STRIDES, strict=True)
        )
        self.decode = BoxDistribution(p.image_size, STRIDES, s.bins)

    def published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """See `ExportableModel.published`; the text tower lies in a file of its own."""
        if "model.23.reprta.m.w12.weight" not in state:
            return None
        return {_renamed(key): value for key, value in state.items() if not key.startswith(_UNUSED)}

    @contextmanager
    def resized(self, state: Mapping[str, Tensor]) -> Iterator[None]:
        """Takes the rank of a checkpoint's experts: the published configuration has 256, the published size fits 16."""
        told = next((value.shape[-1] for key, value in state.items() if key.endswith("lora1_up")), None)
        before = self.preset
        if told is not None and told != before.scale.rank:
            self._use_rank(told)
        try:
            yield
        except CheckpointError:
            self._use_rank(before.scale.rank)
            raise

    def _use_rank(self, rank: int) -> None:
        if rank == self.preset.scale.rank:
            return
        scale = replace(self.preset.scale, rank=rank)
        self.preset = replace(self.preset, scale=scale)
        for module in self.trunk.modules():
            if isinstance(module, LowRankExperts):
                module.use_rank(rank)

    def encode_image(self, image: Tensor) -> tuple[Tensor, ...]:
        """What all sentences share of an image, see `Neck.of_image`."""
        return self.neck.of_image(*self.trunk(image))

    def encode_text(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """`sentence` [N, E], the prompt of unit length."""
        _, sentence, _ = self.text_encoder(tokens)
        return (self.adapter(F.normalize(sentence.float(), dim=-1)),)

    def head(self, *features: Tensor) -> tuple[Tensor, Tensor]:
        """All features of both graphs → `scores` [N, K] and `found_boxes` [N, K, 4], best first."""
        *shared, prompt = features
        logits, distances, _ = self._cells(tuple(shared), prompt, prompt.unsqueeze(1))
        scores, index = logits.squeeze(1).topk(self.preset.candidates, dim=1)
        boxes = self.decode(distances).clamp(0, 1)
        return scores, boxes.gather(1, index.unsqueeze(-1).expand(-1, -1, 4))

    def loss(
        self,
        images: Tensor,
        tokens: Tensor,
        image_index: Tensor,
        boxes: Tensor,
        has_target: Tensor,
        sar: Tensor | None,
    ) -> Tensor:
        """The sum of `losses`, weighted by `WEIGHTS`."""
        terms = self.losses(images, tokens, image_index, boxes, has_target)
        return torch.stack([WEIGHTS[name] * term for name, term in terms.items()]).sum()

    def losses(
        self, images: Tensor, tokens: Tensor, image_index: Tensor, boxes: Tensor, has_target: Tensor
    ) -> dict[str, Tensor]:
        """The terms of the loss by name, scalars; arguments as those of `forward`.

        Each sentence of an image is a class whose score is learned in every cell; sentences without a target are
        negatives, those of several objects learn all their boxes. The neck runs for `GUIDES` sentences an image, drawn
        anew each time, and the head scores all of the image's sentences in each of these runs: the authors' neck takes
        all at once, which no question does.
        """
        guides = drawn_guides(image_index, GUIDES)
        run, sentence = (image_index[guides][:, None] == image_index).nonzero(as_tuple=True)
        prompt = self.encode_text(tokens)[0]
        shared = tuple(feature[image_index[guides]] for feature in self.encode_image(images))
        every, distances, grids = self._cells(shared, prompt[guides], prompt.expand(len(guides), -1, -1))
        logits, found = every[run, sentence], self.decode(distances.float())
        pair, place = has_target[sentence].nonzero(as_tuple=True)  # a row for each box of each pair of run and sentence
        boxes = boxes.float()[sentence[pair], place]
        inside = centres_inside(self.decode.centres, boxes, least=16 / self.preset.image_size)
        overlap = complete_iou(found.detach()[run[pair]], boxes[:, None]).clamp(min=0)
        chosen, quality = task_aligned(logits.detach().sigmoid()[pair], overlap, inside, ASSIGNED, owner=pair)
        share = torch.where(guides[run] == sentence, 1.0, BESIDE)[:, None]
        wanted = torch.zeros_like(logits).index_add(0, pair, quality)
        total = (wanted * share).sum().clamp(min=1)
        row, cell = chosen.nonzero(as_tuple=True)
        weight, own = (quality * share[pair])[row, cell], run[pair[row]]
        distance = self.decode.loss(distances[own, cell], cell, boxes[row])
        entropy = F.binary_cross_entropy_with_logits(logits, wanted, share.expand_as(logits), reduction="sum")
        assigned = torch.zeros_like(distances[..., 0]).index_put((own, cell), distances.new_ones(()))
        return {
            "boxes": ((1 - complete_iou(found[own, cell], boxes[row])) * weight).sum() / total,
            "distances": (distance * weight).sum() / total,
            "scores": entropy / total,
            "grid": self._grid_loss(grids, assigned),
            "balance": torch.stack([m.take_balance() for m in self.modules() if isinstance(m, PatchExperts)]).sum(),
        }

    def _cells(self, shared: tuple[Tensor, ...], guide: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Image features, the neck's guides [N, E], prompts to score [N, K, E].

        Returns:
            All cells' logits [N, K, R] and distances [N, R, 4·bins]; in training, the levels' grids.
        """
        levels = self.neck.with_text(shared, guide.unsqueeze(1))
        parts = [head(level, prompts) for head, level in zip(self.heads, levels, strict=True)]
        logits, distances, regions = zip(*parts, strict=True)
        grids = [grid(x) for grid, x in zip(self._grids(), regions, strict=True)] if self.training else []
        return torch.cat(logits, dim=2), torch.cat(distances, dim=1), grids

    def _grids(self) -> list[RegionGrid]:
        return [module for module in self.heads.modules() if isinstance(module, RegionGrid)]

    def _grid_loss(self, grids: list[Tensor], assigned: Tensor) -> Tensor:
        """Mean over the levels of the cross entropy "which cell of the grid is this place in".

        It counts double at cells that learn a box, `assigned` [N, R].
        """
        terms, start = [], 0
        for logits, grid in zip(grids, self._grids(), strict=True):
            side = logits.shape[-1]
            place = torch.arange(side, device=logits.device) * grid.side // side
            goal = (place[:, None] * grid.side + place).flatten().expand(len(logits), -1)
            weight = 1.0 + assigned[:, start : start + side * side]
            each = F.cross_entropy(logits.float().flatten(2), goal, reduction="none")
            terms.append((each * weight).sum() / weight.sum())
            start += side * side
        return torch.stack(terms).mean()

    def tokenizer_json(self) -> str:
        """CLIP's tokenizer, or for a small vocabulary the one that ships with the tiny presets."""
        return clip_tokenizer_json() if self.preset.vocabulary == VOCABULARY_SIZE else overhead_tokenizer_json()


def drawn_guides(image_index: Tensor, count: int) -> Tensor:
    """The places of `count` random sentences of each image, of all where it has fewer; `image_index` int64 [N]."""
    order = torch.rand(len(image_index), device=image_index.device)
    before = (image_index[:, None] == image_index) & (order < order[:, None])
    return (before.sum(dim=1) < count).nonzero().squeeze(1)


def _renamed(key: str) -> str:
    key = re.sub(r"(\.lora\d)_A$", r"\1_up", re.sub(r"(\.lora\d)_B$", r"\1_down", key))
    for published, ours in _RENAMES:
        found, count = re.subn(f"^{published}", ours, key)
        if count:
            return found
    return key


def _spec(name: str, p: Preset) -> ModelSpec:
    s, sides = p.scale, [p.image_size // stride for stride in STRIDES]
    image = ImageSpec(
        p.image_size,
        mean=(0, 0, 0),
        std=(1, 1, 1),
        resize="linear",
        sensors=("optical", "sar"),
        letterbox=114,
        trained_resolution=p.trained_resolution,
    )
    pixels = TensorSpec(image.name, ("batch", 3, p.image_size, p.image_size))
    shared = tuple(
        TensorSpec(name, ("batch", width, side, side))
        for name, width, side in (
            ("fine", s.channels(256), sides[0]),
            ("fine_embeddings", 256, sides[0]),
            ("fine_values", s.channels(256) // 2, sides[0]),
            ("middle", s.channels(512), sides[1]),
            ("coarse", s.channels(1024), sides[2]),
        )
    )
    ids, prompt = TensorSpec("tokens", ("batch", p.tokens), "int64"), TensorSpec("prompt", ("batch", s.embed_dim))
    found = TensorSpec("scores", ("batch", p.candidates)), TensorSpec("found_boxes", ("batch", p.candidates, 4))
    return ModelSpec(
        name=name,
        task=GROUNDING,
        paper="OptiSAR-Net++: A Transformer-Free Framework for Cross-Domain Visual Grounding (arXiv 2026)",
        images=(image,),
        text=TextSpec(tokens=p.tokens),
        graphs=(
            GraphSpec("image", (pixels,), shared),
            GraphSpec("text", (ids,), (prompt,)),
            GraphSpec("head", (*shared, prompt), found),
        ),
    )
