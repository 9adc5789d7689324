"""The base of everything that can be exported: a declaration, and a module for each of its graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
