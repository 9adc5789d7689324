"""Referring segmentation in PyTorch: images, some of their sentences, the masks they name; and a model to ask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from torch import Tensor

from rsvl.data.records import ImageRecord, Referring, ReferringDataset
from rsvl.runtime.errors import UsageError
from rsvl.runtime.images.letterbox import placement
from rsvl.runtime.images.preprocess import preprocess
from rsvl.runtime.manifest import ModelSpec
from rsvl.runtime.tasks.segmentation import logits_at
from rsvl.runtime.tasks.tokenizer import Tokenizer
from rsvl.tasks.batch import Batch, TrainingSet, draw
from rsvl.tasks.segmentation.evaluation import Predict
from rsvl.tasks.sentences import read_record_image

_VIEW = 1
"""Random stream of the views; that of the sentences has none."""


@dataclass
class SegmentationBatch(Batch):
    """What `rsvl.modules.bases.segmentation.ReferringSegmenter` takes; its forward pass says more.

    Images float [B, 3, S, S], tokens int64 [N, T], image_index int64 [N], masks float [N, 1, h, w] in 0…1, and of the
    dataset's K classes their names, class_tokens int64 [K, T], and masks, class_masks float [B, K, h, w], -1 where
    it is not known where the class is.
    """

    shared: ClassVar[tuple[str, ...]] = ("class_tokens",)
    images: Tensor
    tokens: Tensor
    image_index: Tensor
    masks: Tensor
    class_tokens: Tensor
    class_masks: Tensor


def training_set(model: Any, dataset: ReferringDataset, sentences: int, seed: int) -> TrainingSet:
    """See `rsvl.tasks.contract.Training`.

    Raises:
        UsageError: the dataset has boxes only.
    """
    if not dataset.has_masks:
        raise UsageError(
            f"{dataset.name} has boxes without masks: train {model.spec.name} on another dataset, or on "
            "coco-weak-masks where they are your own"
        )
    tokenizer = Tokenizer.from_file(model.tokenizer_json(), model.spec.words)
    return SegmentationSampler(dataset, model.spec, tokenizer, sentences, seed)


class SegmentationSampler(TrainingSet):
    """Draws `sentences` (image, sentence) pairs of each image, resampled in every epoch, reproducibly by the seed.

    Every image counts once an epoch; one with fewer sentences repeats some. Masks are at the model's mask resolution
    (`target`).
    """

    def __init__(
        self, dataset: ReferringDataset, spec: ModelSpec, tokenizer: Tokenizer, sentences: int, seed: int
    ) -> None:
        self.dataset = dataset
        self.spec = spec
        self.tokenizer = tokenizer
        self.sentences = sentences
        self.seed = seed
        self.mask_size = int(spec.graphs[-1].outputs[0].shape[-1])
        names = list(dataset.categories)
        self.class_tokens = torch.from_numpy(tokenizer(names)) if names else torch.zeros(0, spec.words.tokens).long()
        self.class_index = {name: index for index, name in enumerate(names)}

    def __len__(self) -> int:
        """The number of images."""
        return len(self.dataset)

    def __getitem__(self, index: int) -> SegmentationBatch:
        """A batch of one image."""
        record = self.dataset.varied(index, np.random.default_rng((self.seed, self.epoch, index, _VIEW)))
        pairs = [(referring, text) for referring in record.referrings for text in referring.sentences]
        chosen = draw(pairs, self.sentences, self.seed, self.epoch, index)
        image = preprocess(read_record_image(record, self.spec), self.spec.image)
        masks = {referring.ref_id: self._mask(record, referring) for referring in record.referrings}
        return SegmentationBatch(
            images=torch.from_numpy(image)[None],
            tokens=torch.from_numpy(self.tokenizer([text for _, text in chosen])),
            image_index=torch.zeros(len(chosen), dtype=torch.int64),
            masks=torch.stack([masks[referring.ref_id][None] for referring, _ in chosen]),
            class_tokens=self.class_tokens,
            class_masks=self._class_masks(record, masks),
        )

    def _class_masks(self, record: ImageRecord, masks: dict[int, Tensor]) -> Tensor:
        """All that the image's references say of each class, [1, K, h, w]; -1 of a class that its labels leave out."""
        classes = torch.full((1, len(self.class_index), self.mask_size, self.mask_size), -1.0)
        classes[0, [self.class_index[name] for name in self.dataset.categories_of(record)]] = 0.0
        for referring in record.referrings:
            if referring.category in self.class_index and not referring.no_target:
                plane = classes[0, self.class_index[referring.category]]
                torch.maximum(plane, masks[referring.ref_id], out=plane)
        return classes

    def _mask(self, record: ImageRecord, referring: Referring) -> Tensor:
        mask = self.dataset.mask(record, referring).astype(np.float32)
        return torch.from_numpy(target(mask, self.spec))


def target(mask: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """What a model's mask logits should say of an image's true mask; 0 in a letterbox's border.

    Each pixel is the share of it that the mask covers. Where the model's logits are of points (`align_corners`), it is
    the mask's nearest pixel.

    Args:
        mask: float32 [H, W] in {0, 1}.
        spec: the model's declaration.

    Returns:
        float32 [h, w] in 0…1.
    """
    height, width = mask.shape
    place, side = placement(height, width, spec.image), int(spec.graphs[-1].outputs[0].shape[-1])
    if spec.align_corners:
        left, top, right, bottom = place.in_map(side, align_corners=True)
        rows, columns = _nearest(height, side, top, bottom), _nearest(width, side, left, right)
        return np.pad(mask, 1)[np.ix_(rows + 1, columns + 1)]
    if spec.image.letterbox is None:
        return cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA)
    square = np.zeros((place.size, place.size), np.float32)
    inner = cv2.resize(mask, (place.width, place.height), interpolation=cv2.INTER_AREA)
    square[place.top : place.top + place.height, place.left : place.left + place.width] = inner
    return cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA)


def _nearest(count: int, side: int, start: float, end: float) -> np.ndarray:
    """Which of `count` pixels from `start` to `end` is at each of `side` pixels; -1 or `count` beyond them."""
    place = np.floor((np.arange(side) + 0.5 - start) / (end - start) * count)
    return np.clip(place, -1, count).astype(np.intp)


def torch_predictor(model: Any) -> Predict:
    """Wraps a referring segmenter as something to evaluate; puts it into evaluation mode.

    The image is encoded once for all its sentences. Logits are resized to the image bilinearly and a pixel belongs to
    the mask where its probability is above the model's `spec.threshold`, as in the runtime.

    Args:
        model: a module with `spec`, `tokenizer_json()` and ``model(images [B, 3, S, S], tokens [N, T], image_index
            [N])`` giving mask logits [N, 1, h, w]; it runs on the device that holds its parameters.
    """
    model.eval()
    spec = model.spec
    device = next(model.parameters()).device
    tokenize = Tokenizer.from_file(model.tokenizer_json(), spec.words)

    @torch.inference_mode()
    def predict(record: ImageRecord, sentences: Sequence[str]) -> Sequence[np.ndarray]:
        image = read_record_image(record, spec)
        pixels = torch.from_numpy(preprocess(image, spec.image))[None].to(device)
        tokens = torch.from_numpy(tokenize(sentences)).to(device)
        image_index = torch.zeros(len(sentences), dtype=torch.long, device=device)
        logits = model(pixels, tokens, image_index).float()
        cut = math.log(spec.threshold / (1 - spec.threshold))
        # One sentence at a time: the full-size logits of many sentences on a large image would not fit in memory.
        return [logits_at(each[0], image.shape[:2], spec) > cut for each in logits.cpu().numpy()]

    return predict
