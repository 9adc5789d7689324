"""What a segmentation says of itself and writes, read back by other libraries."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsvl.runtime.errors import OutputError, UsageError
from rsvl.runtime.images.georeference import Georeference
from rsvl.runtime.images.scene import open_scene
from rsvl.runtime.results.overlay import COLOURS
from rsvl.runtime.results.saving import save
from rsvl.runtime.results.segmentation import Segmentation
from tests.support.installed import needs

UTM = Georeference("EPSG:32618", (10.0, 0.0, 500_000.0, 0.0, -10.0, 4_000_000.0), 1.0)


def make(text: str = "the ring", georeference: Georeference | None = None, size: int = 1) -> Segmentation:
    """A ring of 5×5 with a hole of one pixel at (x 4, y 3), and a single pixel at (x 9, y 8); `size` repeats pixels."""
    mask = np.zeros((12, 15), bool)
    mask[1:6, 2:7] = True
    mask[3, 4] = False
    mask[8, 9] = True
    mask = mask.repeat(size, 0).repeat(size, 1)
    scene = open_scene(np.full((*mask.shape, 3), 60, np.uint8))
    return Segmentation(text, mask, 0.75, 0.5, georeference=georeference, scene=scene)


EMPTY = replace(make("nothing"), mask=np.zeros((12, 15), bool), score=0.0)


def test_boxes_polygons_and_area_describe_the_mask() -> None:
    found = make()
    assert found.found and found.area == 25
    assert found.box == (2, 1, 10, 9)
    assert found.boxes == ((2, 1, 7, 6), (9, 8, 10, 9))
    assert found.polygon.tolist() == [[2, 1], [7, 1], [7, 6], [2, 6]]
    assert [hole.tolist() for hole in found.polygons[0].holes] == [[[4, 3], [4, 4], [5, 4], [5, 3]]]


@pytest.mark.parametrize("found", [make(), make(georeference=UTM), EMPTY])
def test_to_dict_is_json(found: Segmentation) -> None:
    data = json.loads(json.dumps(found.to_dict()))
    assert data["found"] == found.found and data["text"] == found.text and data["crs"] == found.crs
    assert data["size"] == [15, 12]
    assert data["box"] == (list(found.box) if found.box else None)


def test_overlay_colours_the_mask_and_keeps_the_rest() -> None:
    found = make(size=20)
    drawn = np.asarray(found.plot())
    height, width = found.mask.shape
    assert drawn.shape[1] == width and drawn.shape[0] > height  # the caption lies below
    changed = (drawn[:height] != 60).any(axis=2)
    assert changed[found.mask].all()
    assert (drawn[20, 60] == COLOURS[0]).all()  # on the outline
    cv2 = pytest.importorskip("cv2")
    outside = cv2.fillPoly(np.ones_like(found.mask, np.uint8), [found.oriented_box.corners.astype(int)], 0)
    assert not changed[cv2.erode(outside, np.ones((5, 5))) > 0].any()
    assert not (drawn[height:] == drawn[height, 0]).all()  # something is written


def test_overlay_gives_each_sentence_its_colour(tmp_path: Path) -> None:
    other = replace(make("the other", size=20), mask=np.roll(make(size=20).mask, 100, axis=1))
    save([make(size=20), other], tmp_path / "both.png")
    drawn = np.asarray(Image.open(tmp_path / "both.png").convert("RGB"))
    for colour in COLOURS[:2]:
        assert (drawn == colour).all(axis=2).any()


@pytest.mark.parametrize("text", ["x", "long " * 200, "w" * 500, "Ünïcödé 船 🚢"])
@pytest.mark.parametrize("size", [1, 20])
def test_overlay_takes_any_sentence_and_size(text: str, size: int) -> None:
    found = make(text, size=size)
    assert found.plot().width == {1: 18 * 15, 20: 20 * 15}[size]  # a whole factor, so that a small one has 256 pixels


def test_overlay_of_a_large_scene_is_thinned_out() -> None:
    found = make(size=20)
    assert found.plot(side=60).width == 60
    assert (np.asarray(found.plot(side=60)) != 60).any()


def test_overlay_of_nothing_shows_the_image() -> None:
    drawn = np.asarray(EMPTY.plot())
    assert (drawn[:12] == 60).all()


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP"), pytest.param("TIF", "TIFF", marks=needs("rasterio"))],
)
def test_suffix_chooses_the_format(tmp_path: Path, suffix: str, kind: str) -> None:
    make().save(tmp_path / f"out.{suffix}")
    assert Image.open(tmp_path / f"out.{suffix}").format == kind
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["out", "out.xyz", "out.onnx"])
def test_unknown_suffix_lists_the_known(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="geojson"):
        make().save(tmp_path / name)


@pytest.mark.parametrize("suffix", ["png", pytest.param("tif", marks=needs("rasterio")), "json"])
def test_failed_write_keeps_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    path = tmp_path / f"out.{suffix}"
    path.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match="No space left"):
        make().save(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_to_save_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no result to save"):
        save([], tmp_path / "out.png")
