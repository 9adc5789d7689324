"""The base of everything that can be exported: a declaration, a module for each of its graphs, its checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar

from torch import Tensor, nn

from rsvl.modules.encoders.published import ConfiguredEncoder
from rsvl.runtime.errors import UsageError
from rsvl.runtime.manifest import ImageSpec, ModelSpec

IMAGE_ENCODER = "image_encoder"
ENCODERS = (IMAGE_ENCODER, "text_encoder")
"""The attributes under which models have their encoders."""


class ExportableModel(nn.Module):
    """A PyTorch model that says what it takes and gives, and can be cut into the graphs that it declares.

    A subclass sets `spec` and has one method for each of `spec.graphs`: ``encode_NAME``, or just ``NAME``, for the
    graph NAME. The method takes the tensors that the graph lists as inputs and returns a tuple of those that it lists
    as outputs, both in that order; the inputs are raw ones or outputs of graphs before it.

    `forward` is for training and for running in PyTorch: it gives predictions, or the scalar loss when it is given the
    true answers, with the keyword names that the model's task has (see `rsvl.tasks`).

    Attributes:
        spec: the model's declaration.
        keep_fp32: submodules that stay in float32 in half-precision exports: module path → reason.
        unread: a regular expression for the entries of published checkpoints that no output depends on.
        from_data: what of the extra state a training takes from its data, so that no preset can know it.
        shows_as_encoder: whether images are prepared as for the published image encoder, size and resampling included;
            otherwise the model keeps its own, and takes only mean and standard deviation.
    """

    spec: ModelSpec
    keep_fp32: Mapping[str, str] = MappingProxyType({})
    unread: ClassVar[str] = "(?!)"
    from_data: ClassVar[tuple[str, ...]] = ()
    shows_as_encoder: ClassVar[bool] = False

    def graph(self, name: str) -> nn.Module:
        """The module to export as graph `name` of `spec.graphs`.

        Raises:
            KeyError: no such graph in the declaration, or no method for it.
        """
        declared = any(graph.name == name for graph in self.spec.graphs)
        method = getattr(self, f"encode_{name}", None) or getattr(self, name, None)
        if not declared or method is None:
            raise KeyError(f"{type(self).__name__} has no graph {name!r}")
        return _Graph(self, method)

    @classmethod
    def reads(cls, state: Mapping[str, Tensor]) -> bool:
        """Whether a file is in one of the model's published layouts, by the names of its tensors; none by default."""
        return False

    def published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """The model's own state dict from the tensors of a file in a layout that others publish for this model.

        Entries that have no place in the model keep their names. The sizes are the checkpoint's (`resized`).

        Args:
            state: the tensors, by the names that the file gives them.

        Returns:
            None where the file is in none of the model's published layouts (`reads`).
        """
        return None

    @contextmanager
    def resized(self, state: Mapping[str, Tensor]) -> Iterator[None]:
        """Takes the sizes of a state dict where a model can; by default it keeps its own.

        Where the block raises a `CheckpointError`, the model is as it was.
        """
        yield

    def extra_state(self) -> dict[str, str]:
        """What of the model neither its preset nor its weights tell, to be saved beside them.

        By default the settings of its encoders that have any (`ConfiguredEncoder`), below their names, and with an
        image encoder the mean, standard deviation and resampling of its images. PyTorch's own ``get_extra_state``
        would be an entry of the state dict, which holds tensors only here.
        """
        return encoder_state(self)

    def load_extra_state(self, extra: Mapping[str, str]) -> None:
        """Sets what `extra_state` gave when the weights were saved; other entries are ignored.

        Raises:
            ValueError: an entry is damaged.
        """
        load_encoder_state(self, extra)

    def tokenizer_json(self) -> str:
        """The model's tokenizer as `tokenizers` JSON text. A model that declares no text needs none.

        Raises:
            UsageError: the model gives no tokenizer.
        """
        raise UsageError(f"{type(self).__name__} declares text and has no tokenizer: give it a method tokenizer_json")


def encoder_state(model: nn.Module) -> dict[str, str]:
    """The settings of a model's encoders that have any, below their names, and of the image encoder's images."""
    encoders = _configured(model)
    found = {f"{name}.{key}": value for name, encoder in encoders.items() for key, value in encoder.settings().items()}
    spec = getattr(model, "spec", None)
    return found | image_settings(spec.image) if spec is not None and IMAGE_ENCODER in encoders else found


def load_encoder_state(model: Any, extra: Mapping[str, str]) -> None:
    """Sets what `encoder_state` gave; other entries are ignored.

    Raises:
        ValueError: an entry is damaged.
    """
    encoders = _configured(model)
    for name, encoder in encoders.items():
        prefix = f"{name}."
        encoder.configure({k.removeprefix(prefix): value for k, value in extra.items() if k.startswith(prefix)})
    if getattr(model, "spec", None) is not None and IMAGE_ENCODER in encoders:
        first, *others = model.spec.images
        model.spec = replace(model.spec, images=(with_image_settings(first, extra), *others))


def _configured(model: nn.Module) -> dict[str, ConfiguredEncoder]:
    found = {name: getattr(model, name, None) for name in ENCODERS}
    return {name: encoder for name, encoder in found.items() if isinstance(encoder, ConfiguredEncoder)}


def image_settings(image: ImageSpec) -> dict[str, str]:
    """How an image's pixels are prepared, as text."""
    return {
        "image_mean": ", ".join(map(str, image.mean)),
        "image_std": ", ".join(map(str, image.std)),
        "image_resize": image.resize,
    }


def with_image_settings(image: ImageSpec, settings: Mapping[str, str]) -> ImageSpec:
    """An image prepared as `image_settings` say; what they do not say stays.

    Raises:
        ValueError: one is damaged.
    """
    told = {**image_settings(image), **settings}
    mean, std = (tuple(map(float, told[f"image_{name}"].split(","))) for name in ("mean", "std"))
    if not len(mean) == len(std) == image.channels or not all(map(math.isfinite, mean)) or not all(x > 0 for x in std):
        raise ValueError(f"mean {told['image_mean']}, standard deviation {told['image_std']}")
    return replace(image, mean=mean, std=std, resize=told["image_resize"])


class _Graph(nn.Module):
    """One method of a model as a module of its own, as `torch.export` wants it."""

    def __init__(self, model: nn.Module, method: Callable[..., tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.model = model
        self.method = method

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.method(*inputs)
