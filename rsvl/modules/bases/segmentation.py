"""What referring segmenters share: three graphs, a training forward pass, a loss."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from rsvl.modules.bases.exportable import ExportableModel
from rsvl.modules.losses.masks import dice_loss, focal_loss
from rsvl.runtime.manifest import GraphSpec, ImageSpec, TensorSpec


class ReferringSegmenter(ExportableModel, ABC):
    """A model that segments what a sentence names, in three graphs: image, text, head.

    A subclass sets `spec` and implements `encode_image`, `encode_text` and `head`; `head` takes the outputs of the
    image graph followed by those of the text graph.
    """

    @abstractmethod
    def encode_image(self, image: Tensor) -> tuple[Tensor, ...]:
        """Encodes images float [B, 3, S, S] into the outputs of the `image` graph."""

    @abstractmethod
    def encode_text(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """Encodes sentences int64 [B, T] into the outputs of the `text` graph."""

    @abstractmethod
    def head(self, *features: Tensor) -> tuple[Tensor]:
        """Decodes image and text features of equal batch into mask logits float [B, 1, h, w]."""

    def forward(
        self,
        images: Tensor,
        tokens: Tensor,
        image_index: Tensor | None = None,
        masks: Tensor | None = None,
        class_tokens: Tensor | None = None,
        class_masks: Tensor | None = None,
    ) -> Tensor:
        """Segments, or, given the true masks, computes the training loss.

        Args:
            images: float [B, 3, S, S], normalised.
            tokens: int64 [N, T].
            image_index: int64 [N], each sentence's image; by default sentence i belongs to image i. Every image is
                encoded once however many sentences it has.
            masks: float [N, 1, h, w] in 0…1.
            class_tokens: int64 [K, T], the names of K classes, for the auxiliary loss; K may be 0.
            class_masks: float [B, K, h, w] in 0…1, where each class is in each image; -1 where that is not known.

        Returns:
            Mask logits float [N, 1, h, w]; with `masks`, the scalar loss.
        """
        if image_index is None:
            image_index = torch.arange(tokens.shape[0], device=tokens.device)
        count = tokens.shape[0]
        if class_tokens is not None:
            tokens = torch.cat([tokens, class_tokens])
        image, text = self.encode_image(images), self.encode_text(tokens)
        text_features = (feature[:count] for feature in text)
        logits = self.head(*(feature.index_select(0, image_index) for feature in image), *text_features)[0]
        if masks is None:
            return logits
        return self.loss(logits, masks) + self.auxiliary_loss(image, text, image_index, masks, class_masks)

    def auxiliary_loss(
        self,
        image: tuple[Tensor, ...],
        text: tuple[Tensor, ...],
        image_index: Tensor,
        masks: Tensor,
        class_masks: Tensor | None,
    ) -> Tensor:
        """What training adds to `loss`; nothing unless a model overrides it.

        Args:
            image: the image graph's features of B images.
            text: the text graph's features of N sentences and, after them, K class names.
            image_index: int64 [N], each sentence's image.
            masks: float [N, 1, h, w].
            class_masks: float [B, K, h, w], or none for K = 0.
        """
        return masks.new_zeros(())

    def loss(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Equal-weight focal and Dice loss (CD2FSAN section 3.5), averaged over the sentences.

        Args:
            logits: float [N, 1, h, w].
            masks: float [N, 1, h, w] in {0, 1}.
        """
        logits, masks = logits.float(), masks.float()
        return (focal_loss(logits, masks) + dice_loss(logits, masks)).mean()


def segmentation_graphs(
    image: ImageSpec,
    tokens: int,
    image_features: list[TensorSpec],
    text_features: list[TensorSpec],
    mask_size: int,
    marks: int = 0,
) -> tuple[GraphSpec, ...]:
    """The graphs of a referring segmenter.

    Args:
        image: the image input.
        tokens: ids in a sentence.
        image_features: what the image graph gives.
        text_features: what the text graph gives.
        mask_size: side of the mask logits in pixels.
        marks: kinds of words that a caller may mark (`TextSpec.marks`).
    """
    pixels = TensorSpec(image.name, ("batch", image.channels, image.size, image.size))
    words = [TensorSpec("tokens", ("batch", tokens), "int64")]
    if marks:
        words.append(TensorSpec("marks", ("batch", marks, tokens), "int64"))
    logits = TensorSpec("mask_logits", ("batch", 1, mask_size, mask_size))
    return (
        GraphSpec("image", (pixels,), tuple(image_features)),
        GraphSpec("text", tuple(words), tuple(text_features)),
        GraphSpec("head", (*image_features, *text_features), (logits,)),
    )
