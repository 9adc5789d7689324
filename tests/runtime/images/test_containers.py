"""One picture is one picture, whatever holds it: each container against the array that was written."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsvl.runtime.errors import InputError, MissingComponentError
from rsvl.runtime.images import pillow_images, raster
from rsvl.runtime.images.options import ReadOptions
from rsvl.runtime.images.reading import read_image
from rsvl.runtime.images.scene import open_scene
from rsvl.runtime.images.tiling import Window
from tests.support.installed import needs
from tests.support.rasters import write_raster

RNG = np.random.default_rng(9)
RGB = RNG.integers(0, 256, (48, 64, 3), np.uint8)
TWELVE = RNG.integers(0, 2041, (48, 64, 3)).astype(np.uint16)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def write_png(path: Path, values: np.ndarray) -> Path:
    """A 16-bit PNG of [H, W, C], which Pillow does not write."""
    height, width, count = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[count]
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def write_pnm(path: Path, values: np.ndarray, largest: int) -> Path:
    height, width, count = values.shape
    kind = {1: 5, 3: 6}[count]
    header = f"P{kind}\n# by hand\n{width} {height}\n{largest}\n".encode()
    path.write_bytes(header + values.astype(">u2" if largest > 255 else "u1").tobytes())
    return path


@needs("rasterio")
def test_wide_values_are_one_picture_in_every_container(tmp_path: Path) -> None:
    low, high = np.percentile(TWELVE, (2, 98))
    expected = np.clip((TWELVE.astype(np.float64) - low) / (high - low), 0, 1) * 255
    sources = [
        TWELVE,
        TWELVE.astype(np.int32),
        TWELVE / 10_000,
        write_raster(tmp_path / "a.tif", TWELVE),
        write_raster(tmp_path / "b.tif", TWELVE, nbits=12),
        write_raster(tmp_path / "f.tif", (TWELVE / 10_000).astype(np.float32)),
        write_png(tmp_path / "c.png", TWELVE),
        write_pnm(tmp_path / "d.ppm", TWELVE, 2040),
        write_raster(tmp_path / "e.jp2", TWELVE, driver="JP2OpenJPEG", QUALITY=100, REVERSIBLE="YES"),
        write_raster(tmp_path / "g.img", TWELVE, driver="HFA"),
        write_raster(tmp_path / "h.ntf", TWELVE, driver="NITF"),
    ]
    for source in sources:
        assert np.abs(read_image(source) - expected).max() <= 1


@needs("rasterio")
def test_eight_bits_are_one_picture_in_every_container(tmp_path: Path) -> None:
    for suffix in ("png", "bmp", "tif", "ppm"):
        Image.fromarray(RGB).save(tmp_path / f"pillow.{suffix}")
    Image.fromarray(RGB).save(tmp_path / "pillow.webp", lossless=True)
    Image.fromarray(RGB).save(tmp_path / "pillow.jp2", irreversible=False)
    paths = [
        *tmp_path.iterdir(),
        write_raster(tmp_path / "a.tif", RGB, compress="deflate", tiled=True, blockxsize=16, blockysize=16),
        write_png(tmp_path / "wide.png", RGB.astype(np.uint16) * 257),
        write_raster(tmp_path / "b.jp2", RGB, driver="JP2OpenJPEG", QUALITY=100, REVERSIBLE="YES"),
        write_raster(tmp_path / "c.j2k", RGB, driver="JP2OpenJPEG", CODEC="J2K", QUALITY=100, REVERSIBLE="YES"),
        write_raster(tmp_path / "d.jp2", RGB, "EPSG:32618", driver="JP2OpenJPEG", QUALITY=100, REVERSIBLE="YES"),
        write_raster(tmp_path / "e.img", RGB, driver="HFA"),
        write_raster(tmp_path / "f.ntf", RGB, driver="NITF"),
    ]
    for path in paths:
        scene = open_scene(path)
        assert np.array_equal(scene.read(), RGB), path.name
        assert np.array_equal(scene.read(Window(7, 9, 20, 30)), RGB[7:27, 9:39]), path.name
        scene.close()


@needs("rasterio")
@pytest.mark.parametrize(("bits", "dtype"), [(1, "uint8"), (2, "uint8"), (4, "uint8")])
def test_few_bits_use_the_whole_range_of_gray(tmp_path: Path, bits: int, dtype: str) -> None:
    levels = RNG.integers(0, 2**bits, (48, 64)).astype(dtype)
    expected = np.rint(levels * (255 / (2**bits - 1)))
    read = read_image(write_raster(tmp_path / "a.tif", levels, nbits=bits))
    assert np.array_equal(read, np.dstack([expected] * 3))
    assert np.array_equal(read_image(levels > 0)[:, :, 0], (levels > 0) * 255)


@needs("rasterio")
@pytest.mark.parametrize("scale", [1, 200])
def test_lowest_is_white_where_a_tiff_says_so(tmp_path: Path, scale: int) -> None:
    gray = RGB[:, :, :1].astype(np.uint8 if scale == 1 else np.uint16) * scale
    white = read_image(write_raster(tmp_path / "white.tif", gray, photometric="MINISWHITE"))
    black = read_image(write_raster(tmp_path / "black.tif", gray))
    assert np.abs(white.astype(int) - (255 - black.astype(int))).max() <= scale // 200  # wide values are rounded once


@needs("rasterio")
def test_one_bit_of_min_is_white(tmp_path: Path) -> None:
    bits = RGB[:, :, :1] % 2
    read = read_image(write_raster(tmp_path / "fax.tif", bits, photometric="MINISWHITE", nbits=1))
    assert np.array_equal(read, np.repeat(255 - bits * 255, 3, axis=2))


TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_orientation_turns_the_picture_and_its_windows(tmp_path: Path, orientation: int, suffix: str) -> None:
    image = Image.fromarray(RGB)
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / f"a.{suffix}", exif=exif)
    expected = TURNS[orientation](RGB)
    scene = open_scene(tmp_path / f"a.{suffix}")
    assert (scene.height, scene.width) == expected.shape[:2]
    assert np.array_equal(scene.read(), expected)
    assert np.array_equal(scene.read(Window(3, 5, 20, 30)), expected[3:23, 5:35])
    assert scene.thumbnail(32).shape[:2] == tuple(side // 2 for side in expected.shape[:2])
    scene.close()


def test_orientation_of_a_georeferenced_file_is_left_to_its_transform(tmp_path: Path) -> None:
    tag = struct.pack("<HHII", 274, 3, 1, 6)  # in place of the software's name, the first tag after its number
    path = write_raster(tmp_path / "a.tif", RGB, "EPSG:32618")
    data = bytearray(path.read_bytes())
    start = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, start)[0]
    entries = [bytes(data[start + 2 + 12 * i : start + 14 + 12 * i]) for i in range(count)]
    planar = next(i for i, entry in enumerate(entries) if struct.unpack_from("<H", entry)[0] == 284)
    data[start + 2 + 12 * planar : start + 14 + 12 * planar] = tag
    path.write_bytes(data)
    assert np.array_equal(read_image(path), RGB)


@needs("rasterio")
def test_palette_gives_its_colours_and_its_void(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    index = RGB[:, :, 0] % 3
    path = write_raster(tmp_path / "a.tif", index, nodata=2)
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {0: (9, 8, 7, 255), 1: (200, 1, 2, 255), 2: (5, 5, 5, 255)})
    scene = open_scene(path)
    assert np.array_equal(scene.read()[index < 2], np.array([[9, 8, 7], [200, 1, 2]], np.uint8)[index[index < 2]])
    assert np.array_equal(scene.valid(), index < 2)


@needs("rasterio")
def test_amplitude_of_complex_values_is_shown(tmp_path: Path) -> None:
    amplitude, phase = RNG.gamma(4, 10, (48, 64)), RNG.uniform(0, 2 * np.pi, (48, 64))
    path = write_raster(tmp_path / "slc.tif", (amplitude * np.exp(1j * phase)).astype(np.complex64))
    assert np.abs(read_image(path).astype(int) - read_image(amplitude, options=ReadOptions(sensor="sar"))).max() <= 1


def test_large_picture_is_read_by_gdal_or_named_as_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(RGB).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    if raster.available():
        assert np.array_equal(read_image(tmp_path / "large.png"), RGB)
    monkeypatch.setattr(raster, "available", lambda: False)
    with pytest.raises(
        InputError, match=r"large\.png: a PNG of more pixels than Pillow reads: pip install 'rsvl\[geo\]'"
    ):
        read_image(tmp_path / "large.png")


@needs("rasterio")
def test_piece_that_can_only_be_decoded_whole_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_raster(tmp_path / "one-tile.tif", RGB, tiled=True, blockxsize=64, blockysize=48)
    monkeypatch.setattr(raster, "LARGEST_PIECE", 64 * 48 * 3 - 1)
    with pytest.raises(InputError, match="64 × 48 pixels that can only be decoded at once"):
        read_image(path)


def test_wide_channels_without_rasterio_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [write_png(tmp_path / "a.png", TWELVE), write_pnm(tmp_path / "b.ppm", TWELVE, 2040)]
    if raster.available():
        paths.append(write_raster(tmp_path / "c.tif", TWELVE))
    monkeypatch.setattr(raster, "available", lambda: False)
    for path in paths:
        with pytest.raises(MissingComponentError, match="channels of 16 bits need rasterio: pip install 'rsvl"):
            read_image(path)
    gray = write_png(tmp_path / "gray.png", TWELVE[:, :, :1])  # one channel loses nothing
    assert np.array_equal(read_image(gray), read_image(TWELVE[:, :, 0]))


def test_pillow_s_own_limits_are_no_damage() -> None:
    assert "damaged" not in str(pillow_images._unreadable("a.tif", OSError("unsupported compression")))


@pytest.mark.skipif(not raster.available(), reason="rasterio is not installed")
def test_name_that_is_not_utf_8_is_read(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", RGB, "EPSG:32618")
    other = tmp_path / b"caf\xe9.tif".decode(errors="surrogateescape")
    path.rename(other)
    scene = open_scene(other)
    assert np.array_equal(scene.read(), RGB) and scene.georeference.crs == "EPSG:32618"
    scene.close()
    assert np.array_equal(scene.read(), RGB)
