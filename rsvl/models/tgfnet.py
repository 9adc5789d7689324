"""TGFNet: question answering about an optical and a SAR image with text-guided coarse-to-fine fusion.

Zhao et al., "Text-Guided Coarse-to-Fine Fusion Network for Robust Remote Sensing Visual Question Answering". Figure
numbers below are that paper's. Only its abstract and the captions of its figures are public here: they name the parts
(CLIP; CFAR: two equal stages of KRR, MCA and IE; AMEF: three experts, RQAF and AF) and what MCA, IE and RQAF are made
of. Everything else was chosen here:

* One CLIP image encoder for both sensors. A SAR image has one channel; the full preset repeats it for CLIP's own patch
  embedding, so that every CLIP checkpoint loads. The tiny preset is trained from scratch and has a convolutional stem
  for each sensor (batch norm statistics of the two would not mix) before the shared transformer.
* ViT-B/16 at 256 pixels: 16×16 places, which halve evenly into the regions of both stages, and 16 pixels per place,
  since questions count small things.
* A place is its patch token plus the class token (each projected to the width C), its position on the grid by sines and
  cosines, and a learned vector of its sensor.
* The question is its sentence embedding followed by its words, as one sequence of T + 1 tokens; the first guides KRR,
  RQAF and the experts.
* KRR: the grid is cut into square regions, a region's relevance is the scaled product of its mean place with the
  question (both projected), the k best are chosen for each question. The chosen relevances are added to MCA's attention
  scores, which weighs the regions and gives KRR its gradient. Coarse to fine: regions of 4×4 places, then of 2×2, and
  half as many places kept. The second KRR asks with the question as the first MCA left it.
* MCA (Figure 4a): the question's tokens attend to the places of the key regions.
* IE (Figure 4b): the similarity of each place to each word is, per head, the sigmoid of their scaled product and a
  learned offset; a place is added the words' values in proportion. Unlike a softmax it can find that no word fits, and
  how much of the image fits, which counting needs.
* CFAR has the same weights for both sensors; a place knows its sensor.
* RQAF (Figure 5): one layer norm for both sensors' places; one linear layer each for the question and for the places,
  whose scaled product per head is the quality of a sensor at a place; softmax over the two sensors; their places in
  these shares, and an MLP.
* An expert pools its places twice, by attention of the question (no projection of the places) and by their mean (which
  keeps amounts), and classifies both with the question by a two-layer MLP. AF: a linear layer on the three experts'
  hidden features, softmax; the answer's logits are the experts' in these shares.
* A missing sensor's places are set to zero as the head begins, so that nothing of its pixels goes further; its quality
  in RQAF and its expert's share are exactly zero. With both missing the question alone is answered.
* Training: cross-entropy of the answer, plus a half of that of each expert alone; one sensor is hidden from some of the
  questions. Where the data outlines objects, the places' products with the classes' names are taught as masks, as
  CD2FSAN's are: that is what teaches the encoders of the tiny preset. Where it says which objects a question is about,
  the experts are taught to look there; without, the tiny preset does not find "the largest ship" whose colour is asked.
* Answers of the full preset before it is trained: the 97 of RSVQA HR's published evaluation and RSVQA LR's rural and
  urban. OSVQA's list is not public here; training on a dataset sets that dataset's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.modules.bases.vqa import QuestionAnswerer, cross_entropy, vqa_graphs
from rsvl.modules.encoders.clip import (
    CLIP_MEAN,
    CLIP_STD,
    CLIPImageEncoder,
    CLIPTextEncoder,
    Size,
    text_config,
    vision_config,
)
from rsvl.modules.encoders.position import grid_position
from rsvl.modules.encoders.stem import ConvStem
from rsvl.modules.layers.attention import Attention, padding_bias
from rsvl.modules.layers.rows import take_rows
from rsvl.modules.losses.contrast import PRIOR_LOGIT
from rsvl.modules.losses.masks import dice_loss, focal_loss
from rsvl.modules.tokenizers.clip import VOCABULARY_SIZE, clip_tokenizer_json
from rsvl.modules.tokenizers.words import question_tokenizer_json
from rsvl.registry import register
from rsvl.runtime.manifest import VQA, ImageSpec, ModelSpec, TensorSpec, TextSpec

#: Of SAR amplitudes scaled to 0…1: a choice.
SAR_MEAN, SAR_STD = (0.3,), (0.2,)

_AREAS = ("0m2", "between 0m2 and 10m2", "between 10m2 and 100m2", "between 100m2 and 1000m2", "more than 1000m2")
RSVQA_ANSWERS = ("yes", "no", *_AREAS, *map(str, range(90)), "rural", "urban")
#: Those of the questions that `rsvl synth` asks: of yes and no, counts, places, colours, kinds of object, lies,
#: density, ground, area, the optical image's condition, and sensors.
SYNTHETIC_ANSWERS = (
    "yes", "no", "0", "1", "2", "3", "4", "5", "more than 5",
    "left", "right", "above", "below", "top left", "top right", "bottom left", "bottom right", "middle",
    "white", "gray", "black", "red", "orange", "yellow", "brown", "green", "blue",
    "airplane", "ship", "vehicle", "storage tank", "tennis court", "basketball court", "ground track field",
    "baseball field", "swimming pool", "roundabout", "bridge", "pier", "windmill", "building", "helicopter",
    "horizontal", "diagonal", "vertical", "sparse", "moderate", "dense", "water", "land", "rural", "urban",
    "clear", "cloudy", "night", "SAR", "both",
)  # fmt: skip


@dataclass(frozen=True)
class Preset:
    """Sizes of a TGFNet.

    Attributes:
        image_size, patch: pixels of the square inputs and of a place.
        tokens: words per question with start and end token.
        vision, text: (width, layers, heads) of the encoders.
        vocabulary: size of the token vocabulary.
        embed_dim: width of the space shared by image and text.
        stem: widths of the convolutional patch embeddings, or none for CLIP's single convolution.
        width, heads: of everything after the encoders, C.
        ffn: hidden width of the MLPs, relative to C.
        regions: for each CFAR stage the places along a region's side and how many regions are kept.
        expert: hidden width of an expert.
        answers: the vocabulary until training sets another.
        sensor_drop: how likely training hides one of two sensors from a question.
    """

    image_size: int
    patch: int
    tokens: int
    vision: Size
    text: Size
    vocabulary: int
    embed_dim: int
    stem: tuple[int, ...]
    width: int
    heads: int
    ffn: int
    regions: tuple[tuple[int, int], ...]
    expert: int
    answers: tuple[str, ...]
    sensor_drop: float = 0.2

    @property
    def grid(self) -> int:
        """Places along a side."""
        return self.image_size // self.patch


FULL = Preset(
    image_size=256,
    patch=16,
    tokens=40,
    vision=(768, 12, 12),
    text=(512, 12, 8),
    vocabulary=VOCABULARY_SIZE,
    embed_dim=512,
    stem=(),
    width=512,
    heads=8,
    ffn=4,
    regions=((4, 8), (2, 16)),
    expert=1024,
    answers=RSVQA_ANSWERS,
)

TINY = Preset(
    image_size=256,
    patch=16,
    tokens=22,
    vision=(128, 3, 4),
    text=(96, 2, 4),
    vocabulary=1024,
    embed_dim=128,
    stem=(16, 48, 80, 128),
    width=64,
    heads=4,
    ffn=1,
    regions=((4, 8), (2, 16)),
    expert=128,
    answers=SYNTHETIC_ANSWERS,
)


class MLP(nn.Sequential):
    """Linear, GELU, linear; as wide at the end as at the start."""

    def __init__(self, p: Preset) -> None:
        hidden = p.ffn * p.width
        super().__init__(nn.Linear(p.width, hidden), nn.GELU(), nn.Linear(hidden, p.width))


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[..., C] → [..., heads, C / heads]."""
    return x.unflatten(-1, (heads, -1))


class KRR(nn.Module):
    """Key region routing: the `keep` regions of `side`×`side` places that concern the question most."""

    def __init__(self, p: Preset, side: int, keep: int) -> None:
        super().__init__()
        self.grid, self.side, self.keep = p.grid, side, keep
        self.norm = nn.LayerNorm(p.width)
        self.region, self.question = nn.Linear(p.width, p.width), nn.Linear(p.width, p.width)

    def regions(self, places: Tensor) -> Tensor:
        """Places [B, N, C] → the normalised places of each region [B, R, side², C]."""
        across = self.grid // self.side
        x = self.norm(places).unflatten(1, (across, self.side, across, self.side))
        return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)

    def relevance(self, regions: Tensor, question: Tensor) -> Tensor:
        """How much each region concerns the question [B, C]: [B, R]."""
        described, asked = self.region(regions.mean(2)), self.question(question)
        return (described * asked[:, None]).sum(-1) / math.sqrt(asked.shape[-1])

    def forward(self, places: Tensor, question: Tensor) -> tuple[Tensor, Tensor]:
        """Places [B, N, C] and question [B, C] → the key regions' places [B, K, C] and their relevance [B, K]."""
        regions = self.regions(places)
        best, index = self.relevance(regions, question).topk(self.keep, dim=1)
        return take_rows(regions, index).flatten(1, 2), best.repeat_interleave(self.side**2, dim=1)


class MCA(nn.Module):
    """Multi-head cross-attention (Figure 4a): the question's tokens take up what the key regions show."""

    def __init__(self, p: Preset) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(p.width), nn.LayerNorm(p.width)
        self.attention = Attention(p.width, p.heads)
        self.mlp = MLP(p)

    def forward(self, question: Tensor, keys: Tensor, relevance: Tensor) -> Tensor:
        """Question [B, T, C], key places [B, K, C] and their relevance [B, K] → [B, T, C]."""
        question = question + self.attention(self.norm1(question), keys, relevance)
        return question + self.mlp(self.norm2(question))


class SimilarityEnhancement(nn.Module):
    """Multi-head similarity enhancement: adds to each place the words that it resembles, by how much it does."""

    def __init__(self, p: Preset) -> None:
        super().__init__()
        self.heads = p.heads
        self.place, self.word = nn.Linear(p.width, p.width), nn.Linear(p.width, 2 * p.width)
        self.out = nn.Linear(p.width, p.width)
        # The words' similarities to a place start from a sum of about one, as a softmax's would.
        self.offset = nn.Parameter(torch.full((p.heads, 1, 1), -math.log(p.tokens)))

    def similarity(self, places: Tensor, words: Tensor, padding: Tensor) -> Tensor:
        """Places [B, N, C], the words' keys [B, T, C] and padding bias [B, T] → [B, heads, N, T] in 0…1."""
        query, key = (split_heads(x, self.heads).transpose(1, 2) for x in (self.place(places), words))
        product = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])
        return (product + self.offset + padding[:, None, None]).sigmoid()

    def forward(self, places: Tensor, words: Tensor, padding: Tensor) -> Tensor:
        """Places [B, N, C], words [B, T, C] and padding bias [B, T] → [B, N, C]."""
        key, value = self.word(words).chunk(2, dim=-1)
        value = split_heads(value, self.heads).transpose(1, 2)
        return self.out((self.similarity(places, key, padding) @ value).transpose(1, 2).flatten(2))


class IE(nn.Module):
    """Image feature enhancement (Figure 4b): highlights the places that the guided question speaks of."""

    def __init__(self, p: Preset) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(p.width), nn.LayerNorm(p.width)
        self.enhance = SimilarityEnhancement(p)
        self.mlp = MLP(p)

    def forward(self, places: Tensor, question: Tensor, padding: Tensor) -> Tensor:
        """Places [B, N, C], question [B, T, C] and padding bias [B, T] → [B, N, C]."""
        places = places + self.enhance(self.norm1(places), question, padding)
        return places + self.mlp(self.norm2(places))


class CFAR(nn.Module):
    """One stage of coarse-to-fine attention refinement (Figure 3): KRR, MCA, IE."""

    def __init__(self, p: Preset, side: int, keep: int) -> None:
        super().__init__()
        self.krr, self.mca, self.ie = KRR(p, side, keep), MCA(p), IE(p)

    def forward(self, places: Tensor, question: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
        """Places [B, N, C], question [B, T, C], padding bias [B, T] → refined places and question."""
        question = self.mca(question, *self.krr(places, question[:, 0]))
        return self.ie(places, question, padding), question


class RQAF(nn.Module):
    """Regional quality-aware fusion (Figure 5): at each place the sensor whose view serves the question better."""

    def __init__(self, p: Preset) -> None:
        super().__init__()
        self.heads = p.heads
        self.norm = nn.LayerNorm(p.width)
        self.question, self.place = nn.Linear(p.width, p.width), nn.Linear(p.width, p.width)
        self.mlp = MLP(p)

    def shares(self, places: Tensor, question: Tensor, sensors: Tensor) -> Tensor:
        """Normalised places of both sensors [B, 2, N, C] → each sensor's share [B, 2, N, heads], summing to one.

        A missing sensor's is exactly zero where the other is present.
        """
        asked = split_heads(self.question(question), self.heads)[:, None, None]
        quality = (split_heads(self.place(places), self.heads) * asked).sum(-1) / math.sqrt(asked.shape[-1])
        return (quality + padding_bias(sensors).to(quality.dtype)[:, :, None, None]).softmax(1)

    def forward(self, optical: Tensor, sar: Tensor, question: Tensor, sensors: Tensor) -> Tensor:
        """Places of each sensor [B, N, C], question [B, C] and sensors 0/1 [B, 2] → fused places [B, N, C]."""
        places = self.norm(torch.stack([optical, sar], dim=1))
        shares = self.shares(places, question, sensors)
        fused = (split_heads(places, self.heads) * shares[..., None]).sum(1).flatten(2)
        return fused + self.mlp(fused)


class Expert(nn.Module):
    """Answers the question from one set of places."""

    def __init__(self, p: Preset) -> None:
        super().__init__()
        self.heads = p.heads
        self.norm = nn.LayerNorm(p.width)
        self.query = nn.Linear(p.width, p.width)
        self.hidden = nn.Sequential(nn.LayerNorm(3 * p.width), nn.Linear(3 * p.width, p.expert), nn.GELU())
        self.answer = nn.Linear(p.expert, len(p.answers))

    def attention(self, places: Tensor, question: Tensor) -> Tensor:
        """Where the question [B, C] looks among the normalised places [B, N, C], per head: [B, N, heads]."""
        query, places = split_heads(self.query(question), self.heads), split_heads(places, self.heads)
        return ((places * query[:, None]).sum(-1) / math.sqrt(query.shape[-1])).softmax(1)

    def forward(self, places: Tensor, question: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Places [B, N, C] and question [B, C] → hidden features [B, H], answer logits [B, A], attention [B, N]."""
        places = self.norm(places)
        attention = self.attention(places, question)
        attended = (split_heads(places, self.heads) * attention[..., None]).sum(1).flatten(1)
        hidden = self.hidden(torch.cat([attended, places.mean(1), question], dim=-1))
        return hidden, self.answer(hidden), attention.mean(-1)


class AMEF(nn.Module):
    """Adaptive multi-expert fusion (Figure 3): optical, SAR and fusion expert, RQAF before the last, AF after all."""

    def __init__(self, p: Preset) -> None:
        super().__init__()
        self.rqaf = RQAF(p)
        self.experts = nn.ModuleList(Expert(p) for _ in range(3))
        self.af = nn.Linear(3 * p.expert, 3)

    def shares(self, hidden: Sequence[Tensor], sensors: Tensor) -> Tensor:
        """AF: each expert's share [B, 3] from their hidden features 3 × [B, H]; exactly zero for a missing sensor's."""
        hiding = F.pad(padding_bias(sensors), (0, 1))
        return (self.af(torch.cat(list(hidden), dim=-1)).float() + hiding).softmax(-1)

    def forward(
        self, views: Sequence[Tensor], questions: Sequence[Tensor], asked: Tensor, sensors: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Lets the experts answer.

        Args:
            views: the places of each sensor, 2 × [B, N, C].
            questions: the question as each sensor's CFAR left it, 2 × [B, C].
            asked: the question as it was asked [B, C].
            sensors: 0/1 [B, 2].

        Returns:
            Of the optical, the SAR and the fusion expert the answer logits [B, 3, A], the shares [B, 3] and the
            attention [B, 3, N].
        """
        fused = self.rqaf(*views, asked, sensors)
        present = sensors.to(asked.dtype)[:, :, None]
        guided = (torch.stack(list(questions), dim=1) * present).sum(1) / present.sum(1).clamp(min=1)
        seen = zip(self.experts, (*views, fused), (*questions, asked + guided), strict=True)
        found = zip(*(expert(places, question) for expert, places, question in seen), strict=True)
        hidden, logits, attention = found
        return torch.stack(logits, dim=1), self.shares(hidden, sensors), torch.stack(attention, dim=1)


@register("tgfnet", presets={"tgfnet": FULL, "tgfnet-tiny": TINY})
class TGFNet(QuestionAnswerer):
    """The network of Figure 3.

    Args:
        name: the preset's name.
        preset: its sizes.
    """

    position: Tensor

    def __init__(self, name: str, preset: Preset) -> None:
        super().__init__()
        p = self.preset = preset
        self.spec, self.sensor_drop = _spec(name, p), p.sensor_drop
        stem, self.sar_stem = (ConvStem(p.stem, channels) if p.stem else None for channels in (3, 1))
        self.image_encoder = CLIPImageEncoder(vision_config(p.vision, p.image_size, p.patch), p.embed_dim, stem)
        self.text_encoder = CLIPTextEncoder(text_config(p.text, p.tokens, p.vocabulary), p.embed_dim)
        self.image_encoder.start_positions()
        self.place = nn.Sequential(nn.LayerNorm(p.vision[0]), nn.Linear(p.vision[0], p.width))
        self.scene = nn.Linear(p.embed_dim, p.width)
        self.sensor_embedding = nn.Parameter(torch.randn(2, p.width) * 0.02)
        self.register_buffer("position", grid_position(p.width, p.grid).flatten(1).T.contiguous(), persistent=False)
        self.word, self.sentence = nn.Linear(p.text[0], p.width), nn.Linear(p.embed_dim, p.width)
        self.cfar = nn.ModuleList(CFAR(p, side, keep) for side, keep in p.regions)
        self.amef = AMEF(p)
        self.mask_bias = nn.Parameter(torch.tensor(PRIOR_LOGIT))

    def encode_optical(self, optical: Tensor) -> tuple[Tensor]:
        """The places of optical images [B, N, C]."""
        return (self._places(optical, None, 0),)

    def encode_sar(self, sar: Tensor) -> tuple[Tensor]:
        """The places of SAR images [B, N, C]."""
        return (self._places(sar if self.sar_stem is not None else sar.expand(-1, 3, -1, -1), self.sar_stem, 1),)

    def _places(self, image: Tensor, stem: ConvStem | None, sensor: int) -> Tensor:
        states, _ = self.image_encoder(image, stem)
        scene = self.scene(self.image_encoder.embedding(states[-1]))
        places = self.place(states[-1][:, 1:]) + scene[:, None]
        return places + self.position.to(places.dtype) + self.sensor_embedding[sensor].to(places.dtype)

    def encode_text(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """The question [B, T + 1, C], its sentence first, and its padding bias [B, T + 1]."""
        words, sentence, is_word = self.text_encoder(tokens)
        question = torch.cat([self.sentence(sentence)[:, None], self.word(words)], dim=1)
        return question, F.pad(padding_bias(is_word), (1, 0))

    def head(self, *features: Tensor) -> tuple[Tensor]:
        """Answer logits [B, A] from the features that `experts` takes."""
        logits, shares, _ = self.experts(*features)
        return (_together(logits, shares),)

    def experts(
        self, optical: Tensor, sar: Tensor, question: Tensor, padding: Tensor, sensors: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """CFAR for each sensor, AMEF: logits [B, 3, A], shares [B, 3] and attention [B, 3, N] of the three experts."""
        views, questions = [], []
        for sensor, places in enumerate((optical, sar)):
            places, guided = places.masked_fill(sensors[:, sensor, None, None] < 0.5, 0), question
            for stage in self.cfar:
                places, guided = stage(places, guided, padding)
            views.append(places)
            questions.append(guided[:, 0])
        return self.amef(views, questions, question[:, 0], sensors)

    def loss(self, answers: Tensor, asked_masks: Tensor | None, *features: Tensor) -> Tensor:
        """Cross-entropy of the answer, plus a half of that of each expert alone whose sensor is present.

        Where `asked_masks` [N, h, w] say what a question is about, plus a half of how little the experts look there.
        """
        logits, shares, attention = self.experts(*features)
        together = cross_entropy(_together(logits, shares), answers)
        present = F.pad(features[-1], (0, 1), value=1.0)
        alone = [cross_entropy(logits[:, i], answers, present[:, i]) for i in range(logits.shape[1])]
        loss = together + torch.stack(alone).sum() / 2
        if asked_masks is None:
            return loss
        target = F.adaptive_max_pool2d(asked_masks[:, None], self.preset.grid).flatten(2)
        return loss + attention_loss(attention, target, present) / 2

    def auxiliary_loss(
        self,
        views: tuple[tuple[Tensor, ...], tuple[Tensor, ...]],
        names: tuple[Tensor, ...],
        sensors: Tensor,
        class_masks: Tensor,
    ) -> Tensor:
        """Focal and Dice loss of the masks that the places' products with the classes' names are, for each sensor."""
        side, named = self.preset.grid, names[0][:, 0]
        target = F.interpolate(class_masks.float(), size=(side, side), mode="area").flatten(0, 1)[:, None]
        total = class_masks.new_zeros(())
        for sensor, (places,) in enumerate(views):
            logits = (places @ named.T).float() / math.sqrt(places.shape[-1]) + self.mask_bias.float()
            logits = logits.transpose(1, 2).unflatten(2, (side, side)).flatten(0, 1)[:, None]
            each = (focal_loss(logits, target) + dice_loss(logits, target)).unflatten(0, class_masks.shape[:2])
            present = sensors[:, sensor]
            total = total + (each.mean(1) * present).sum() / present.sum().clamp(min=1)
        return total

    def answer_layers(self) -> list[nn.Linear]:
        """The last layer of each expert."""
        return [expert.answer for expert in self.amef.experts]  # type: ignore[misc]

    def tokenizer_json(self) -> str:
        """CLIP's tokenizer, or for a small vocabulary the one that ships with the tiny presets."""
        return clip_tokenizer_json() if self.preset.vocabulary == VOCABULARY_SIZE else question_tokenizer_json()


def attention_loss(attention: Tensor, target: Tensor, present: Tensor) -> Tensor:
    """The mean negative logarithm of how much attention falls on what a question is about.

    Args:
        attention: float [N, E, P], of E experts over P places, summing to one.
        target: float [N, 1, P] in 0…1; questions with zeros alone teach nothing.
        present: 0/1 [N, E]; other experts learn nothing.
    """
    there = (attention.float() * target).sum(-1).clamp(min=1e-6)
    counted = present * (target.amax(-1) > 0)
    return -(there.log() * counted).sum() / counted.sum().clamp(min=1)


def _together(logits: Tensor, shares: Tensor) -> Tensor:
    """The experts' logits [B, 3, A] by their shares [B, 3], float32 [B, A]."""
    return (logits.float() * shares[..., None]).sum(1)


def _spec(name: str, p: Preset) -> ModelSpec:
    optical = ImageSpec(size=p.image_size, mean=CLIP_MEAN, std=CLIP_STD, name="optical")
    sar = ImageSpec(size=p.image_size, mean=SAR_MEAN, std=SAR_STD, channels=1, name="sar", sensors=("sar",))
    places = ("batch", p.grid**2, p.width)
    text_features = [
        TensorSpec("question", ("batch", p.tokens + 1, p.width)),
        TensorSpec("padding", ("batch", p.tokens + 1)),
    ]
    return ModelSpec(
        name=name,
        task=VQA,
        paper="TGFNet: Text-Guided Coarse-to-Fine Fusion Network for Robust Remote Sensing Visual Question Answering",
        images=(optical, sar),
        text=TextSpec(tokens=p.tokens),
        graphs=vqa_graphs(
            (optical, sar),
            p.tokens,
            [TensorSpec("optical_places", places)],
            [TensorSpec("sar_places", places)],
            text_features,
            len(p.answers),
        ),
        answers=p.answers,
    )
