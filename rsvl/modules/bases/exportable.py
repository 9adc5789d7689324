"""The base of everything that can be exported: a declaration, a module for each of its graphs, its checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from torch import Tensor, nn

from rsvl.runtime.errors import UsageError
from rsvl.runtime.manifest import ModelSpec


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
    """

    spec: ModelSpec
    keep_fp32: Mapping[str, str] = MappingProxyType({})

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

    def published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """The model's own state dict from the tensors of a file in a layout that others publish for this model.

        Entries that are not known keep their names. The sizes are the checkpoint's (`resized`).

        Args:
            state: the tensors, by the names that the file gives them.

        Returns:
            None where the file is in none of the model's published layouts, which is so unless a model overrides this.
        """
        return None

    @contextmanager
    def resized(self, state: Mapping[str, Tensor]) -> Iterator[None]:
        """Takes the sizes of a state dict where a model can; by default it keeps its own.

        Where the block raises a `CheckpointError`, the model is as it was.
        """
        yield

    def extra_state(self) -> dict[str, str]:
        """What of the model neither its preset nor its weights tell, to be saved beside them; nothing by default.

        PyTorch's own ``get_extra_state`` would be an entry of the state dict, which holds tensors only here.
        """
        return {}

    def load_extra_state(self, extra: Mapping[str, str]) -> None:
        """Sets what `extra_state` gave when the weights were saved; other entries are ignored.

        Raises:
            ValueError: an entry is damaged.
        """

    def tokenizer_json(self) -> str:
        """The model's tokenizer as `tokenizers` JSON text. A model that declares no text needs none.

        Raises:
            UsageError: the model gives no tokenizer.
        """
        raise UsageError(f"{type(self).__name__} declares text and has no tokenizer: give it a method tokenizer_json")


class _Graph(nn.Module):
    """One method of a model as a module of its own, as `torch.export` wants it."""

    def __init__(self, model: nn.Module, method: Callable[..., tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.model = model
        self.method = method

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.method(*inputs)
