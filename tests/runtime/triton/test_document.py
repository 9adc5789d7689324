"""The client in docs/triton.md gets the mask that the sentence names, from a stand-in of Triton's server."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from rsvl.runtime.triton.repository import write_repository
from tests.support.installed import needs
from tests.support.triton_server import TYPES, infer

DOCUMENT = Path(__file__).parents[3] / "docs/triton.md"


class InferInput:
    """As tritonclient's: name, shape and type are declared, then the values are given."""

    def __init__(self, name: str, shape: tuple[int, ...], datatype: str) -> None:
        self.name, self.shape, self.datatype = name, shape, datatype

    def set_data_from_numpy(self, array: np.ndarray) -> None:
        assert tuple(self.shape) == array.shape and TYPES[f"TYPE_{self.datatype}"] == array.dtype
        self.array = array


class Answer(dict):
    def as_numpy(self, name: str) -> np.ndarray:
        return self[name]


class InferenceServerClient:
    def __init__(self, url: str) -> None:
        assert url == "127.0.0.1:8000"

    def infer(self, model_name: str, inputs: list[InferInput]) -> Answer:
        return Answer(infer(Path("triton-models"), model_name, {given.name: given.array for given in inputs}))


@needs("cv2")
def test_client_of_the_document_finds_the_red_square(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_repository("tiny.bundle", "triton-models", "ships")
    module = ModuleType("tritonclient.http")
    module.InferInput, module.InferenceServerClient = InferInput, InferenceServerClient  # type: ignore[attr-defined]
    package = ModuleType("tritonclient")
    package.http = module  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tritonclient", package)
    monkeypatch.setitem(sys.modules, "tritonclient.http", module)
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, np.ndarray] = {}
    exec(program, names)
    expected = np.zeros((32, 32), bool)
    expected[5:15, 10:20] = True  # where tests.support.workspace drew it
    np.testing.assert_array_equal(names["mask"], expected)
