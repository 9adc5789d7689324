"""Fixtures of the runtime's tests: the toy bundle, loaded or to damage, and an image for it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rsvl.runtime.backends.onnxruntime.session import OnnxRuntimeSession
from rsvl.runtime.loading import load
from rsvl.runtime.tasks.segmentation import Segmenter
from tests.support.toy_bundle import write_bundle


@pytest.fixture(scope="session")
def whole_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An intact bundle that all tests share: read only."""
    return write_bundle(tmp_path_factory.mktemp("toy") / "bundle")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle of the test's own, to damage."""
    return write_bundle(tmp_path / "bundle")


@pytest.fixture(scope="session")
def segmenter(whole_bundle: Path) -> Segmenter:
    return load(whole_bundle, threads=1)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the graphs that run during the test, in order."""
    seen: list[str] = []
    original: Callable[..., list] = OnnxRuntimeSession.run_graph

    def spy(self: OnnxRuntimeSession, name: str, *rest: object) -> list:
        seen.append(name)
        return original(self, name, *rest)

    monkeypatch.setattr(OnnxRuntimeSession, "run_graph", spy)
    return seen


@pytest.fixture
def squares() -> np.ndarray:
    """A gray image, uint8 [48, 64, 3], with a red square at x 10…20, y 5…15 and a blue one at x 40…52, y 20…44."""
    image = np.full((48, 64, 3), 128, np.uint8)
    image[5:15, 10:20] = (255, 0, 0)
    image[20:44, 40:52] = (0, 0, 255)
    return image
