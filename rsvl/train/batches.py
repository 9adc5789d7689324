"""Training batches: images, some of their sentences, the masks they name."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from rsvl.data.records import ImageRecord, Referring, ReferringDataset
from rsvl.runtime.image import preprocess, read_image
from rsvl.runtime.manifest import ModelSpec
from rsvl.runtime.text import Tokenizer


@dataclass
class Batch:
    """What a training step takes; the forward pass of `rsvl.modules.referring.ReferringSegmenter` says more.

    Images float [B, 3, S, S], tokens int64 [N, T], image_index int64 [N], masks float [N, 1, h, w] in 0…1, and of the
    data set's K classes their names, class_tokens int64 [K, T], and masks, class_masks float [B, K, h, w].
    """

    images: Tensor
    tokens: Tensor
    image_index: Tensor
    masks: Tensor
    class_tokens: Tensor
    class_masks: Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        return Batch(*(getattr(self, name).to(device, non_blocking=True) for name in self.__dataclass_fields__))


class SentenceSampler(Dataset):
    """Draws `sentences` (image, sentence) pairs of each image, anew in every epoch and the same for the same seed.

    Every image counts once an epoch; one with fewer sentences repeats some, because a batch of constant size spares
    the convolutions of a new size's preparation. Masks are averaged down to the model's mask resolution, so that a
    pixel's target is the share of it that the object covers.
    """

    def __init__(
        self, dataset: ReferringDataset, spec: ModelSpec, tokenizer: Tokenizer, sentences: int, seed: int
    ) -> None:
        self.dataset = dataset
        self.spec = spec
        self.tokenizer = tokenizer
        self.sentences = sentences
        self.seed = seed
        self.epoch = 0
        self.mask_size = int(spec.graphs[-1].outputs[0].shape[-1])
        names = list(dataset.categories)
        self.class_tokens = torch.from_numpy(tokenizer(names)) if names else torch.zeros(0, spec.words.tokens).long()
        self.class_index = {name: index for index, name in enumerate(names)}

    def __len__(self) -> int:
        """The number of images."""
        return len(self.dataset)

    def __getitem__(self, index: int) -> Batch:
        """A batch of one image."""
        record = self.dataset[index]
        pairs = [(referring, text) for referring in record.referrings for text in referring.sentences]
        rng = np.random.default_rng((self.seed, self.epoch, index))
        chosen = [pairs[i] for i in np.resize(rng.permutation(len(pairs)), self.sentences)]
        image = preprocess(read_image(record.path), self.spec.image)
        masks = {referring.ref_id: self._mask(record, referring) for referring in record.referrings}
        return Batch(
            images=torch.from_numpy(image)[None],
            tokens=torch.from_numpy(self.tokenizer([text for _, text in chosen])),
            image_index=torch.zeros(len(chosen), dtype=torch.int64),
            masks=torch.stack([masks[referring.ref_id][None] for referring, _ in chosen]),
            class_tokens=self.class_tokens,
            class_masks=self._class_masks(record, masks),
        )

    def _class_masks(self, record: ImageRecord, masks: dict[int, Tensor]) -> Tensor:
        """All that the image's references say of each class, [1, K, h, w]."""
        classes = torch.zeros(1, len(self.class_index), self.mask_size, self.mask_size)
        for referring in record.referrings:
            if referring.category in self.class_index and not referring.no_target:
                plane = classes[0, self.class_index[referring.category]]
                torch.maximum(plane, masks[referring.ref_id], out=plane)
        return classes

    def _mask(self, record: ImageRecord, referring: Referring) -> Tensor:
        mask = self.dataset.mask(record, referring).astype(np.float32)
        return torch.from_numpy(cv2.resize(mask, (self.mask_size, self.mask_size), interpolation=cv2.INTER_AREA))


def collate(parts: list[Batch]) -> Batch:
    """Joins batches; each sentence's `image_index` is counted on."""
    return Batch(
        images=torch.cat([part.images for part in parts]),
        tokens=torch.cat([part.tokens for part in parts]),
        image_index=torch.cat([part.image_index + index for index, part in enumerate(parts)]),
        masks=torch.cat([part.masks for part in parts]),
        class_tokens=parts[0].class_tokens,
        class_masks=torch.cat([part.class_masks for part in parts]),
    )
