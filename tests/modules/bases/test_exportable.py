"""The base of all that exports finds a graph's method by its name."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rsvl.modules.bases.exportable import ExportableModel
from rsvl.runtime.errors import UsageError
from rsvl.runtime.manifest import GraphSpec, ModelSpec


class Two(ExportableModel):
    """A graph by either form of name, a method that is no graph, a graph without a method."""

    def __init__(self) -> None:
        super().__init__()
        graphs = tuple(GraphSpec(name, (), ()) for name in ("image", "head", "absent"))
        self.spec = ModelSpec("two", "none", "none", (), None, graphs)

    def encode_image(self, image: Tensor) -> tuple[Tensor]:
        return (image + 1,)

    def head(self, feature: Tensor) -> tuple[Tensor]:
        return (2 * feature,)

    def other(self, feature: Tensor) -> tuple[Tensor]:
        return (feature,)


@pytest.mark.parametrize(("name", "expected"), [("image", 4.0), ("head", 6.0)])
def test_graph_is_the_method_of_its_name(name: str, expected: float) -> None:
    assert Two().graph(name)(torch.tensor(3.0))[0] == expected


@pytest.mark.parametrize("name", ["other", "absent", "nothing"])
def test_what_is_not_declared_or_has_no_method_is_no_graph(name: str) -> None:
    with pytest.raises(KeyError, match=f"Two has no graph '{name}'"):
        Two().graph(name)


def test_model_without_a_tokenizer_says_so() -> None:
    with pytest.raises(UsageError, match="tokenizer_json"):
        Two().tokenizer_json()
