"""Image-text matching in PyTorch: pairs of an image and a sentence about it; and a model to ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from rsvl.data.records import CaptionDataset, ClassificationDataset
from rsvl.runtime.images.preprocess import preprocess
from rsvl.runtime.images.reading import read_image
from rsvl.runtime.manifest import ModelSpec
from rsvl.runtime.tasks.matching import TEMPLATE
from rsvl.runtime.tasks.tokenizer import Tokenizer
from rsvl.tasks.batch import Batch, TrainingSet, draw
from rsvl.tasks.matching.evaluation import Embedder


@dataclass
class MatchingBatch(Batch):
    """What a dual encoder takes: images float [B, 3, S, S], tokens int64 [B, T] of a sentence about each.

    `contrast` asks the forward pass for the loss.
    """

    shared: ClassVar[tuple[str, ...]] = ("contrast",)

    images: Tensor
    tokens: Tensor
    contrast: bool = True


def training_set(model: Any, dataset: CaptionDataset | ClassificationDataset, sentences: int, seed: int) -> TrainingSet:
    """See `rsvl.tasks.contract.Training`; an image counts once a step, so `sentences` does not matter."""
    return MatchingSampler(dataset, model.spec, Tokenizer.from_file(model.tokenizer_json(), model.spec.words), seed)


class MatchingSampler(TrainingSet):
    """Each image with one of its captions, or its class in a sentence, resampled in every epoch."""

    def __init__(
        self, dataset: CaptionDataset | ClassificationDataset, spec: ModelSpec, tokenizer: Tokenizer, seed: int
    ) -> None:
        self.dataset, self.spec, self.tokenizer, self.seed = dataset, spec, tokenizer, seed

    def __len__(self) -> int:
        """The number of images."""
        return len(self.dataset)

    def __getitem__(self, index: int) -> MatchingBatch:
        """A batch of one image."""
        record: Any = self.dataset[index]
        captions = getattr(record, "sentences", None) or (TEMPLATE.replace("{}", record.label),)
        tokens = self.tokenizer(draw(captions, 1, self.seed, self.epoch, index))
        image = preprocess(read_image(record.path, self.spec.image), self.spec.image)
        return MatchingBatch(images=torch.from_numpy(image)[None], tokens=torch.from_numpy(tokens))


def torch_predictor(model: Any) -> Embedder:
    """Wraps a dual encoder as something to evaluate; puts it into evaluation mode.

    Args:
        model: a module with the graphs `image` and `text`; it runs on the device that holds its parameters.
    """
    model.eval()
    return _TorchEmbedder(model)


class _TorchEmbedder:
    """See `rsvl.tasks.matching.evaluation.Embedder`."""

    def __init__(self, model: Any) -> None:
        self.spec = model.spec
        self.image, self.text = model.graph("image"), model.graph("text")
        self.device = next(model.parameters()).device
        self.tokenizer = Tokenizer.from_file(model.tokenizer_json(), model.spec.words)

    @torch.inference_mode()
    def embed_images(self, images: Sequence[Path]) -> np.ndarray:
        spec = self.spec.image
        pixels = np.stack([preprocess(read_image(image, spec), spec) for image in images])
        return self.image(torch.from_numpy(pixels).to(self.device))[0].float().cpu().numpy()

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        return self.text(torch.from_numpy(self.tokenizer(texts)).to(self.device))[0].float().cpu().numpy()
