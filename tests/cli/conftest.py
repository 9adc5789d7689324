"""The command run in this process, and stand-ins for it: a toy bundle, images, a small dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsvl.cli import main
from tests.support.outcome import Outcome, Rsvl
from tests.support.toy_bundle import write_bundle


@pytest.fixture
def rsvl(capsys: pytest.CaptureFixture[str]) -> Rsvl:
    """Runs `rsvl` with the given arguments."""

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Outcome(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that finds what has the colour that a sentence names; read only."""
    return write_bundle(tmp_path_factory.mktemp("toy") / "toy.bundle")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A gray picture of the toy bundle's own 32 × 32 pixels with a red square at x 10…20, y 5…15."""
    pixels = np.full((32, 32, 3), 128, np.uint8)
    pixels[5:15, 10:20] = (255, 0, 0)
    path = tmp_path / "square.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a synthetic dataset: 4 images to train on, 2 to validate, 2 to test."""
    pytest.importorskip("cv2")
    from rsvl.data.synth import write

    root = tmp_path_factory.mktemp("synth") / "root"
    write(root, 8, seed=1, size=64, val=2, test=2)
    return root
