"""Small datasets in the public layouts, as fixtures."""

from pathlib import Path

import pytest

from rsvl.data.synth import Scene, generate
from tests.support.public_layouts import write_phrases, write_refer


@pytest.fixture
def rrsis_d(tmp_path: Path) -> Path:
    """The root of a small RRSIS-D."""
    return write_refer(tmp_path)


@pytest.fixture
def refsegrs(tmp_path: Path) -> Path:
    """The root of a small RefSegRS."""
    lines = {"train": ["12 road in the middle", "12 the road", "7 van"], "test": ["3 light car"]}
    return write_phrases(tmp_path, lines, "images", "masks", ".tif")


@pytest.fixture(scope="session")
def scenes() -> list[Scene]:
    """A hundred and twenty synthetic scenes."""
    return [generate((12, k)) for k in range(120)]
