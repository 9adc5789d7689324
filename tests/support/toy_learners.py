"""Toy models that take what each task's training gives, and what `rsvl synth` has for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from rsvl.modules.bases.exportable import ExportableModel
from rsvl.modules.tokenizers.words import train_tokenizer
from rsvl.runtime.manifest import GROUNDING, MATCHING, VQA, ImageSpec, ModelSpec, TextSpec

SIZE, TOKENS, VOCABULARY = 32, 200, 300
#: What `rsvl synth` calls each task, and the dataset that reads it.
SYNTH = {GROUNDING: ("grounding", "optsar-rsvg"), VQA: ("vqa", "osvqa"), MATCHING: ("classification", "scenes")}
PLAIN = ImageSpec(SIZE, (0.5,) * 3, (0.25,) * 3)
PAIR = (
    ImageSpec(SIZE, (0.5,) * 3, (0.25,) * 3, name="optical"),
    ImageSpec(SIZE, (0.5,), (0.25,), 1, name="sar", sensors=("sar",)),
)


class Toy(ExportableModel):
    """Embeds images by their mean and sentences by their words; all tasks' toys have that in common."""

    def __init__(self, task: str, images: tuple[ImageSpec, ...] = (PLAIN,)) -> None:
        super().__init__()
        self.spec = ModelSpec("toy", task, "none", images, TextSpec(TOKENS), ())
        self.embed = nn.Embedding(VOCABULARY, 8)
        self.see = nn.Linear(3, 8)

    def tokenizer_json(self) -> str:
        return train_tokenizer(["the ship is left of the tank", "how many cars are there"], VOCABULARY)

    def seen(self, images: Tensor) -> Tensor:
        return self.see(images.expand(-1, 3, -1, -1).mean(dim=(2, 3)))

    def said(self, tokens: Tensor) -> Tensor:
        return self.embed(tokens).mean(1)


class ToyGrounder(Toy):
    """Always the middle of the image, with a score that depends on everything."""

    def __init__(self) -> None:
        super().__init__(GROUNDING, (replace(PLAIN, sensors=("optical", "sar")),))
        self.corners = nn.Parameter(torch.tensor([0.25, 0.25, 0.75, 0.75]))

    def forward(
        self,
        images: Tensor,
        tokens: Tensor,
        image_index: Tensor,
        boxes: Tensor | None = None,
        has_target: Tensor | None = None,
        sar: Tensor | None = None,
    ) -> Any:
        scores = self.seen(images)[image_index] * self.said(tokens)
        found = self.corners.expand(len(tokens), 8, 4)
        if boxes is None:
            return scores, found
        assert has_target is not None and sar is not None and len(sar) == len(images)
        return ((found[:, :1] - boxes).abs().sum(2) * has_target).mean() + scores.square().mean()


class ToyAnswerer(Toy):
    """A linear layer on what is seen times what is said."""

    def __init__(self) -> None:
        super().__init__(VQA, PAIR)
        self.answer = nn.Linear(8, 1)

    def set_answers(self, answers: tuple[str, ...]) -> None:
        self.spec = ModelSpec("toy", VQA, "none", PAIR, TextSpec(TOKENS), (), answers=answers)
        self.answer = nn.Linear(8, len(answers))

    def forward(
        self,
        optical: Tensor,
        sar: Tensor,
        sensors: Tensor,
        tokens: Tensor,
        image_index: Tensor,
        answers: Tensor | None = None,
        **masks: Tensor,
    ) -> Tensor:
        seen = self.seen(optical) * sensors[:, :1] + self.seen(sar) * sensors[:, 1:]
        logits = self.answer(seen[image_index] * self.said(tokens))
        return logits if answers is None else nn.functional.cross_entropy(logits, answers, ignore_index=-1)


class ToyMatcher(Toy):
    """Cosines of embeddings."""

    def __init__(self) -> None:
        super().__init__(MATCHING)

    def encode_image(self, image: Tensor) -> tuple[Tensor]:
        return (nn.functional.normalize(self.seen(image), dim=-1),)

    def encode_text(self, tokens: Tensor) -> tuple[Tensor]:
        return (nn.functional.normalize(self.said(tokens), dim=-1),)

    def graph(self, name: str) -> Any:
        return {"image": self.encode_image, "text": self.encode_text}[name]

    def forward(self, images: Tensor, tokens: Tensor, contrast: bool = False) -> Tensor:
        similarity = 10 * self.encode_image(images)[0] @ self.encode_text(tokens)[0].T
        return nn.functional.cross_entropy(similarity, torch.arange(len(images))) if contrast else similarity


TOYS = {GROUNDING: ToyGrounder, VQA: ToyAnswerer, MATCHING: ToyMatcher}
