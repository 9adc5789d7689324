"""Rasters of 1 to 13 bands: which are shown, by rule, by name and by number; and what is said of a lack of colour."""

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsvl.runtime.errors import BundleError, InputError
from rsvl.runtime.images.bands import choose_bands
from rsvl.runtime.images.reading import read_image
from rsvl.runtime.images.scene import open_scene
from rsvl.runtime.manifest import ImageSpec, Manifest, ModelSpec

SPEC = ImageSpec(32, (0.5,) * 3, (0.5,) * 3)
SAR_TOO = dataclasses.replace(SPEC, sensors=("optical", "sar"))
S2 = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12"]
L2A = [f"B{n:02d}" for n in range(1, 9)] + ["B8A", "B09", "B11", "B12"]
RNG = np.random.default_rng(3)


@pytest.mark.parametrize(
    ("count", "descriptions", "colours", "expected"),
    [
        (1, (), (), (1,)),
        (2, (), (), (1,)),
        (2, ("VV", "VH"), ("gray", "undefined"), (1,)),
        (3, (), (), (1, 2, 3)),
        (4, (), (), (1, 2, 3)),
        (4, (), ("red", "green", "blue", "alpha"), (1, 2, 3)),
        (4, ("blue", "green", "red", "nir"), (), (3, 2, 1)),
        (4, (), ("blue", "green", "red", "undefined"), (3, 2, 1)),
        (4, ("B2", "B3", "B4", "B8"), ("red", "green", "blue", "alpha"), (3, 2, 1)),
        (4, ("Blue", None, "Red", "Green"), (), (3, 4, 1)),
        (5, ("coastal", "blue", "green", "red", "red"), (), None),
        (12, (), (), (4, 3, 2)),
        (12, tuple(L2A), (), (4, 3, 2)),
        (12, tuple(reversed(L2A)), (), (9, 10, 11)),
        (13, (), ("gray",) + ("undefined",) * 12, (4, 3, 2)),
        (13, tuple(S2), (), (4, 3, 2)),
        (6, (), (), None),
        (7, (), (), None),
        (0, (), (), None),
    ],
)
def test_usual_bands_follow_names_then_colours_then_number(
    count: int, descriptions: Sequence[str | None], colours: Sequence[str], expected: tuple[int, ...] | None
) -> None:
    if expected is None:
        with pytest.raises(InputError, match=f"has {count} bands and does not say which are red, green and blue"):
            choose_bands(count, (), descriptions, colours)
    else:
        assert choose_bands(count, (), descriptions, colours) == expected


@pytest.mark.parametrize(
    ("wanted", "descriptions", "expected"),
    [
        ((8, 4, 3), (), (8, 4, 3)),
        (("8", "4", "3"), (), (8, 4, 3)),
        (("B8", "B4", "B3"), (), (8, 4, 3)),
        (("b08", "b04", "B8A"), (), (8, 4, 9)),
        (("B8A",), S2, (9,)),
        (("swir", 2, "NIR"), [None] * 10 + ["nir", "SWIR", None], (12, 2, 11)),
    ],
)
def test_bands_asked_for_are_found_by_number_and_name(
    wanted: tuple[str | int, ...], descriptions: Sequence[str | None], expected: tuple[int, ...]
) -> None:
    assert choose_bands(13, wanted, descriptions) == expected


@pytest.mark.parametrize(
    ("count", "wanted", "message"),
    [
        (13, ("B4", "B3"), "2 bands asked for"),
        (13, ("B4", "B3", "B99"), "no band 'B99': it has 1 to 13, or B1, B2"),
        (4, (5, 1, 2), "no band '5': it has 1 to 4$"),
        (4, (0, 1, 2), "no band '0'"),
        (3, ("B4", "B3", "B2"), "no band 'B4': it has 1 to 3$"),
        (3, (-1, 1, 2), "no band '-1'"),
    ],
)
def test_bands_that_are_not_there_are_refused(count: int, wanted: tuple[str | int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose_bands(count, wanted)


def tiff(path: Path, cube: np.ndarray, descriptions: Sequence[str] = (), **options: object) -> Path:
    """A TIFF of a cube [H, W, C]."""
    rasterio = pytest.importorskip("rasterio")
    height, width, count = cube.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": count, "dtype": cube.dtype, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", **profile) as dataset:
            dataset.write(cube.transpose(2, 0, 1))
            for number, description in enumerate(descriptions, start=1):
                dataset.set_band_description(number, description)
    return path


def stretched(planes: np.ndarray, low: float = 2, high: float = 98) -> np.ndarray:
    """The stretch in float64."""
    bottom, top = np.percentile(planes, (low, high))
    return np.clip((planes.astype(np.float64) - bottom) / (top - bottom), 0, 1) * 255


@pytest.mark.parametrize(
    ("count", "descriptions", "shown"),
    [(1, (), [0, 0, 0]), (2, ("VV", "VH"), [0, 0, 0]), (3, (), [0, 1, 2]), (4, (), [0, 1, 2]),
     (4, ("B2", "B3", "B4", "B8"), [2, 1, 0]), (12, (), [3, 2, 1]), (13, (), [3, 2, 1])],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*stretched")
def test_sixteen_bit_files_show_the_usual_bands(
    tmp_path: Path, count: int, descriptions: Sequence[str], shown: list[int]
) -> None:
    cube = RNG.integers(0, 5000, (40, 30, count), np.uint16) * np.arange(1, count + 1, dtype=np.uint16)
    path = tiff(tmp_path / "raster.tif", cube, descriptions)
    read = read_image(path)
    assert np.abs(read - stretched(cube[:, :, sorted(set(shown))])[..., _places(shown)]).max() <= 1
    scene = open_scene(path)
    assert np.array_equal(scene.read(), read)
    scene.close()


def _places(shown: list[int]) -> list[int]:
    """Where the shown bands are among the different ones."""
    return [sorted(set(shown)).index(band) for band in shown]


@pytest.mark.filterwarnings("ignore:.*stretched")
def test_declared_bands_and_stretch_are_taken(tmp_path: Path) -> None:
    cube = RNG.integers(0, 9000, (40, 30, 13), np.uint16)
    spec = dataclasses.replace(SPEC, bands=("B8A", "B11", 4), stretch=(10.0, 70.0))
    path = tiff(tmp_path / "raster.tif", cube)
    expected = stretched(cube[:, :, [8, 11, 3]], 10, 70)
    for read in (read_image(path, spec), read_image(cube, spec), open_scene(path, spec).read()):
        assert np.abs(read - expected).max() <= 1


def test_windows_of_chosen_bands_are_parts_of_the_whole(tmp_path: Path) -> None:
    from rsvl.runtime.images.tiling import Window

    cube = RNG.integers(0, 255, (40, 30, 6), np.uint8)
    scene = open_scene(tiff(tmp_path / "raster.tif", cube), dataclasses.replace(SPEC, bands=(6, 1, 3)))
    assert np.array_equal(scene.read(), cube[:, :, [5, 0, 2]])
    assert np.array_equal(scene.read(Window(4, 5, 10, 20)), cube[4:14, 5:25, [5, 0, 2]])
    scene.close()


def test_raster_without_usual_bands_is_one_line(tmp_path: Path) -> None:
    path = tiff(tmp_path / "seven.tif", np.zeros((9, 9, 7), np.uint8))
    with pytest.raises(InputError, match=r"seven\.tif has 7 bands and does not say") as error:
        read_image(path)
    assert "\n" not in str(error.value)


GRAY = RNG.integers(0, 255, (9, 8), np.uint8)


def _gray_sources(folder: Path) -> list[object]:
    Image.fromarray(GRAY).save(folder / "gray.png")
    return [
        GRAY,
        GRAY[:, :, None],
        np.dstack([GRAY, GRAY]),
        Image.fromarray(GRAY),
        folder / "gray.png",
        tiff(folder / "gray.tif", GRAY[:, :, None]),
        tiff(folder / "dual.tif", np.dstack([GRAY, GRAY // 2])),
    ]


def test_one_band_is_seen_as_gray_and_an_optical_model_warned(tmp_path: Path) -> None:
    for source in _gray_sources(tmp_path):
        with pytest.warns(UserWarning, match="one band is shown, as gray: the model has learned optical images"):
            read = read_image(source, SPEC)  # type: ignore[arg-type]
        assert np.array_equal(read, np.dstack([GRAY] * 3))


def test_models_of_sar_and_readers_without_a_model_are_not_warned(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for source in _gray_sources(tmp_path):
            read_image(source)  # type: ignore[arg-type]
            read_image(source, SAR_TOO)  # type: ignore[arg-type]
            open_scene(source, SAR_TOO).close()  # type: ignore[arg-type]


def test_scene_of_one_band_warns_an_optical_model(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"gray\.tif: one band"):
        open_scene(tiff(tmp_path / "gray.tif", GRAY[:, :, None]), SPEC).close()


def test_colours_of_a_palette_are_not_gray(tmp_path: Path) -> None:
    Image.fromarray(GRAY % 4).convert("P").save(tmp_path / "palette.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_image(tmp_path / "palette.png", SPEC)


def _manifest(spec: ImageSpec) -> Manifest:
    return Manifest(ModelSpec("x", "other", "", (spec,), None, ()), "fp32")


def test_manifest_keeps_bands_and_stretch() -> None:
    spec = dataclasses.replace(SPEC, bands=("B4", 3, "blue"), stretch=(1.0, 99.0))
    assert Manifest.from_json(_manifest(spec).to_json()).model.image == spec


@pytest.mark.parametrize(
    "more", [{"bands": ("B4", "B3")}, {"stretch": (98.0, 2.0)}, {"stretch": (-1.0, 98.0)}, {"stretch": (2.0, 101.0)}]
)
def test_manifest_with_impossible_bands_or_stretch_is_refused(more: dict) -> None:
    with pytest.raises(BundleError, match="not a valid bundle manifest"):
        Manifest.from_json(_manifest(dataclasses.replace(SPEC, **more)).to_json())
