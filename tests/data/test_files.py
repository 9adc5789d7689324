"""The size of a dataset's image is read from its header, by Pillow's readers of images and no others."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from rsvl.data.files import image_size
from rsvl.runtime.errors import DatasetError


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "bmp"])
def test_size_is_that_of_the_image(tmp_path: Path, suffix: str) -> None:
    Image.new("RGB", (7, 5)).save(tmp_path / f"a.{suffix}")
    assert image_size(tmp_path / f"a.{suffix}") == (7, 5)


def test_postscript_is_no_image(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(DatasetError, match="not a readable image"):
        image_size(path)
