"""Rasters of 1 to 13 bands: which are shown, by rule, by name and by number; and what is said of a lack of colour."""

import dataclasses
import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsvl.runtime.errors import BundleError, InputError
from rsvl.runtime.images.bands import choose_bands
from rsvl.runtime.images.options import ReadOptions, StretchOption
from rsvl.runtime.images.reading import read_image
from rsvl.runtime.images.scene import open_scene
from rsvl.runtime.manifest import ImageSpec, Manifest, ModelSpec
from tests.support.rasters import write_raster

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
        (4, (), (), None),
        (4, (), ("gray", "undefined", "undefined", "undefined"), None),
        (4, ("Band 1", "Band 2", "Band 3", "Band 4"), (), None),
        (4, ("B1", "B2", "B3", "B4"), (), None),
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
        (4, ("Red", "Green", "Blue", "NIR"), (), (1, 2, 3)),
        (4, ("R", "G", "B", "N"), (), (1, 2, 3)),
        (4, ("B02 (490 nm)", "B03 (560 nm)", "B04 (665 nm)", "B08 (842 nm)"), (), (3, 2, 1)),
        (4, ("0.49 µm", "0.56 µm", "0.665 µm", "0.842 µm"), (), (3, 2, 1)),
        (4, ("B4, central wavelength 665 nm", "B3, 560 nm", "B2, 490 nm", "B8, 842 nm"), (), (1, 2, 3)),
        (5, ("Blue", "Green", "Red", "Red edge", "Near infra-red"), (), (3, 2, 1)),
        (6, ("B1", "B2", "B3", "B4", "B5", "B7"), (), (3, 2, 1)),
        (6, ("B2", "B3", "B4", "B5", "B6", "B7"), (), (3, 2, 1)),
        (7, ("B1", "B2", "B3", "B4", "B5", "B6", "B7"), (), None),
        (7, tuple(f"SR_B{n}" for n in range(1, 8)), (), (4, 3, 2)),
        (7, ("SR_B1", "SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B7", "ST_B6"), (), (3, 2, 1)),
        (9, (*(f"SR_B{n}" for n in range(1, 8)), "ST_B10", "QA_PIXEL"), (), (4, 3, 2)),
        (9, ("B1", "B2", "B3", "B4", "B5", "B6_VCID_1", "B6_VCID_2", "B7", "B8"), (), (3, 2, 1)),
        (8, ("coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir"), (), (6, 4, 2)),
        (8, ("BAND_C", "BAND_B", "BAND_G", "BAND_Y", "BAND_R", "BAND_RE", "BAND_N", "BAND_N2"), (), (5, 3, 2)),
        (3, ("B3", "B2", "B1"), (), (1, 2, 3)),
        (3, ("VV", "VH", "ratio"), (), (1, 2, 3)),
    ],
)
def test_usual_bands_follow_names_then_colours_then_number(
    count: int, descriptions: Sequence[str | None], colours: Sequence[str], expected: tuple[int, ...] | None
) -> None:
    if expected is None:
        with pytest.raises(InputError, match=f"has {count} bands and does not say .* choose three with --bands"):
            choose_bands(count, (), descriptions, colours)
    else:
        assert choose_bands(count, (), descriptions, colours).numbers == expected


@pytest.mark.parametrize(
    ("wanted", "descriptions", "expected"),
    [
        ((8, 4, 3), (), (8, 4, 3)),
        (("8", "4", "3"), (), (8, 4, 3)),
        (("B8", "B4", "B3"), (), (8, 4, 3)),
        (("b08", "b04", "B8A"), (), (8, 4, 9)),
        (("B8A",), S2, (9,)),
        (("swir", 2, "NIR"), [None] * 10 + ["nir", "SWIR", None], (12, 2, 11)),
        (("b4", "B03", "Band 2"), [f"SR_B{n}" for n in range(1, 14)], (4, 3, 2)),
        (("red", "green", "blue"), ["Blue (490 nm)", "Green band", "B4 red", *[None] * 10], (3, 2, 1)),
    ],
)
def test_bands_asked_for_are_found_by_number_and_name(
    wanted: tuple[str | int, ...], descriptions: Sequence[str | None], expected: tuple[int, ...]
) -> None:
    assert choose_bands(13, wanted, descriptions).numbers == expected


@pytest.mark.parametrize(
    ("name", "count", "expected"),
    [
        ("GF2_PMS1_E113.9_N34.5_20200101_L1A0001-MSS1.tif", 4, (3, 2, 1)),
        ("20200101_103020_1042_3B_AnalyticMS_SR_8b.tif", 8, (6, 4, 2)),
        ("20200101_103020_1042_3B_AnalyticMS.tif", 4, (3, 2, 1)),
        ("WV03_20200101.tif", 8, (5, 3, 2)),
        ("m_3807708_sw_18_1_20180815.tif", 4, (1, 2, 3)),
        ("LE07_L1TP_190024.tif", 6, (3, 2, 1)),
        ("LC08_L2SP_190024.tif", 7, (4, 3, 2)),
        ("S2A_MSIL2A_20200101.tif", 12, (4, 3, 2)),
        ("S2A_and_LC08_merged.tif", 4, None),
        ("alc08x.tif", 7, None),
        ("image.tif", 4, None),
    ],
)
def test_bands_without_names_follow_the_satellite_that_the_file_names(
    name: str, count: int, expected: tuple[int, ...] | None
) -> None:
    if expected is None:
        with pytest.raises(InputError, match="choose three"):
            choose_bands(count, about=name)
    else:
        assert choose_bands(count, about=name).numbers == expected


def test_names_of_a_satellite_tell_ambiguous_numbers() -> None:
    names = [f"B{n}" for n in range(1, 8)]
    assert choose_bands(7, (), names, about="LT05_L1TP_1.tif").numbers == (3, 2, 1)
    assert choose_bands(7, (), names, about="LC09_L1TP_1.tif").numbers == (4, 3, 2)


def test_wavelengths_of_bands_without_names_choose_the_nearest() -> None:
    wavelengths = [*np.linspace(400, 2400, 201)]
    found = choose_bands(201, wavelengths=wavelengths).numbers
    assert [wavelengths[number - 1] for number in found] == [660, 560, pytest.approx(485, abs=5)]


def test_what_is_guessed_is_told_in_one_line(tmp_path: Path) -> None:
    names = ("B1", "B2", "B3", "B4", "B5", "B7")
    cube = RNG.integers(7000, 15000, (40, 30, 6)).astype(np.uint16)
    path = write_raster(tmp_path / "l7.tif", cube, descriptions=names)
    with pytest.warns(UserWarning) as caught:
        scene = open_scene(path)
    (warning,) = caught
    said = str(warning.message)
    assert "bands 3, 2, 1 (B3, B2, B1) are shown as red, green, blue by names of Landsat 4–7" in said
    assert "uint16 stretched to 8 bits from" in said and "\n" not in said
    reading = scene.reading.to_dict()
    assert reading["bands"] == (3, 2, 1) and reading["band_names"] == ("B3", "B2", "B1") and len(reading["notes"]) == 2
    assert json.loads(json.dumps(reading))["dtype"] == "uint16"


def test_what_is_asked_for_is_no_guess(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "six.tif", RNG.integers(0, 4000, (40, 30, 6)).astype(np.uint16))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        options = ReadOptions(bands=(3, 2, 1), stretch=StretchOption(limits=(0.0, 4000.0)))
        open_scene(path, options=options).close()


@pytest.mark.parametrize("source", ["png", "jpg", "tif", "array", "pillow"])
def test_bands_of_a_picture_can_be_chosen(tmp_path: Path, source: str) -> None:
    rgb = RNG.integers(0, 256, (16, 16, 3), np.uint8)
    image = Image.fromarray(rgb)
    given: object = {"array": rgb, "pillow": image}.get(source)
    if given is None:
        given = tmp_path / f"a.{source}"
        image.save(given)
    straight = read_image(given)  # type: ignore[arg-type]
    assert np.array_equal(read_image(given, options=ReadOptions(bands=(3, 2, 1))), straight[:, :, ::-1])  # type: ignore[arg-type]
    assert np.array_equal(read_image(given, options=ReadOptions(bands=("green",)))[:, :, 0], straight[:, :, 1])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no band '7': it has 1 to 3"):
        read_image(given, options=ReadOptions(bands=("7", "8", "9")))  # type: ignore[arg-type]


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


def stretched(planes: np.ndarray, low: float = 2, high: float = 98) -> np.ndarray:
    """The stretch in float64."""
    bottom, top = np.percentile(planes, (low, high))
    return np.clip((planes.astype(np.float64) - bottom) / (top - bottom), 0, 1) * 255


@pytest.mark.parametrize(
    ("count", "descriptions", "shown"),
    [(1, (), [0, 0, 0]), (2, ("VV", "VH"), [0, 0, 0]), (3, (), [0, 1, 2]),
     (4, ("B2", "B3", "B4", "B8"), [2, 1, 0]), (12, (), [3, 2, 1]), (13, (), [3, 2, 1])],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*stretched")
def test_sixteen_bit_files_show_the_usual_bands(
    tmp_path: Path, count: int, descriptions: Sequence[str], shown: list[int]
) -> None:
    cube = RNG.integers(0, 5000, (40, 30, count), np.uint16) * np.arange(1, count + 1, dtype=np.uint16)
    path = write_raster(tmp_path / "raster.tif", cube, descriptions=descriptions)
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
    path = write_raster(tmp_path / "raster.tif", cube)
    expected = stretched(cube[:, :, [8, 11, 3]], 10, 70)
    for read in (read_image(path, spec), read_image(cube, spec), open_scene(path, spec).read()):
        assert np.abs(read - expected).max() <= 1


def test_windows_of_chosen_bands_are_parts_of_the_whole(tmp_path: Path) -> None:
    from rsvl.runtime.images.tiling import Window

    cube = RNG.integers(0, 255, (40, 30, 6), np.uint8)
    scene = open_scene(write_raster(tmp_path / "raster.tif", cube), dataclasses.replace(SPEC, bands=(6, 1, 3)))
    assert np.array_equal(scene.read(), cube[:, :, [5, 0, 2]])
    assert np.array_equal(scene.read(Window(4, 5, 10, 20)), cube[4:14, 5:25, [5, 0, 2]])
    scene.close()


def test_raster_without_usual_bands_is_one_line(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "seven.tif", np.zeros((9, 9, 7), np.uint8))
    with pytest.raises(InputError, match=r"seven\.tif has 7 bands and does not say") as error:
        read_image(path)
    assert "\n" not in str(error.value)


GRAY = RNG.integers(0, 255, (9, 8), np.uint8)


def _gray_sources(folder: Path) -> list[object]:
    Image.fromarray(GRAY).save(folder / "gray.png")
    return [
        GRAY,
        GRAY[:, :, None],
        Image.fromarray(GRAY),
        folder / "gray.png",
        write_raster(folder / "gray.tif", GRAY[:, :, None]),
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
        open_scene(write_raster(tmp_path / "gray.tif", GRAY[:, :, None]), SPEC).close()


def test_colours_of_a_palette_are_not_gray(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([GRAY, 255 - GRAY, GRAY // 2])).quantize(8).save(tmp_path / "palette.png")
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
