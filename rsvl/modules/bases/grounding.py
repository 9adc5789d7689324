"""What models share that find the box which a sentence names: graphs, a forward pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from rsvl.modules.bases.exportable import ExportableModel
from rsvl.runtime.manifest import GraphSpec, ImageSpec, TensorSpec


class VisualGrounder(ExportableModel, ABC):
    """A model that finds boxes by sentence, in three graphs: image, text, head.

    The image graph gives `regions` [B, R, E] and the text graph `sentence` [B, E], both of unit length, so that a
    vocabulary of sentences is matched with all regions of an image by one matrix product; the head looks closer for one
    sentence.
    """

    @abstractmethod
    def encode_image(self, image: Tensor) -> tuple[Tensor, ...]:
        """Encodes images float [B, 3, S, S] into the outputs of the `image` graph; the first two are regions, boxes."""

    @abstractmethod
    def encode_text(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """Encodes sentences int64 [B, T] into the outputs of the `text` graph; the first is the sentence."""

    @abstractmethod
    def head(self, *features: Tensor) -> tuple[Tensor, Tensor]:
        """Image and text features of equal batch → scores [B, K] and boxes [B, K, 4] of the K best, best first."""

    @abstractmethod
    def loss(
        self,
        images: Tensor,
        tokens: Tensor,
        image_index: Tensor,
        boxes: Tensor,
        has_target: Tensor,
        sar: Tensor | None,
    ) -> Tensor:
        """The scalar training loss; arguments as those of `forward`, none left out but `sar`, boxes [N, K, 4]."""

    def forward(
        self,
        images: Tensor,
        tokens: Tensor,
        image_index: Tensor | None = None,
        boxes: Tensor | None = None,
        has_target: Tensor | None = None,
        sar: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Finds boxes, or, given the true ones, computes the training loss.

        Args:
            images: float [B, 3, S, S], normalised.
            tokens: int64 [N, T].
            image_index: int64 [N], each sentence's image; by default sentence i belongs to image i. Every image is
                encoded once however many sentences it has.
            boxes: float [N, K, 4], x1, y1, x2, y2 in 0…1 of the image: of all that a sentence names, then anything; or
                [N, 4] where none names several objects.
            has_target: bool [N, K] or [N], which of `boxes` a sentence names; by default all.
            sar: bool [B], which images a SAR took, for models that train on it; predictions never need it.

        Returns:
            Scores float [N, K], logits, and boxes [N, K, 4] in 0…1 of the K best candidates, best first; with `boxes`,
            the scalar loss.
        """
        if image_index is None:
            image_index = torch.arange(tokens.shape[0], device=tokens.device)
        if boxes is not None:
            boxes = boxes if boxes.dim() == 3 else boxes[:, None]
            if has_target is None:
                has_target = torch.ones(boxes.shape[:2], dtype=torch.bool, device=boxes.device)
            return self.loss(images, tokens, image_index, boxes, has_target.view(boxes.shape[:2]), sar)
        features = (feature.index_select(0, image_index) for feature in self.encode_image(images))
        return self.head(*features, *self.encode_text(tokens))


def grounding_graphs(
    image: ImageSpec, tokens: int, regions: int, embed_dim: int, candidates: int, more: Sequence[Sequence[TensorSpec]]
) -> tuple[GraphSpec, ...]:
    """The graphs of a visual grounder.

    Args:
        image: the image input.
        tokens: ids in a sentence.
        regions: regions of an image, R.
        embed_dim: length of the embeddings, E.
        candidates: boxes that the head gives, K.
        more: what the image graph gives besides regions and boxes; what the text graph gives besides the sentence.
    """
    pixels = TensorSpec(image.name, ("batch", image.channels, image.size, image.size))
    ids = TensorSpec("tokens", ("batch", tokens), "int64")
    of_image = (
        TensorSpec("regions", ("batch", regions, embed_dim)),
        TensorSpec("boxes", ("batch", regions, 4)),
        *more[0],
    )
    of_text = (TensorSpec("sentence", ("batch", embed_dim)), *more[1])
    found = (TensorSpec("scores", ("batch", candidates)), TensorSpec("found_boxes", ("batch", candidates, 4)))
    return (
        GraphSpec("image", (pixels,), of_image),
        GraphSpec("text", (ids,), of_text),
        GraphSpec("head", (*of_image, *of_text), found),
    )
