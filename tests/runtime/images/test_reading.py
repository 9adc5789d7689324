"""Reading images by the documented rules, refusing what is none, and preprocessing against a float64 formula."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsvl.runtime.errors import BundleError, InputError
from rsvl.runtime.images.preprocess import preprocess, squared
from rsvl.runtime.images.reading import read_image
from rsvl.runtime.manifest import ImageSpec

RNG = np.random.default_rng(7)
RGB = RNG.integers(0, 256, (11, 17, 3), np.uint8)
GRAY = RGB[:, :, 0]
WIDE = np.arange(11 * 17, dtype=np.uint16).reshape(11, 17) * 300


def stretched(values: np.ndarray) -> np.ndarray:
    low, high = np.percentile(values, (2, 98))
    return np.rint(np.clip((values.astype(np.float64) - low) / (high - low), 0, 1) * 255).astype(np.uint8)


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
@pytest.mark.parametrize("as_path", [str, Path])
def test_lossless_file_gives_its_pixels(tmp_path: Path, suffix: str, as_path: type) -> None:
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(RGB).save(path)
    assert np.array_equal(read_image(as_path(path)), RGB)


def test_jpeg_gives_what_pillow_decodes(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "image.jpg")
    assert np.array_equal(read_image(tmp_path / "image.jpg"), np.asarray(Image.open(tmp_path / "image.jpg")))


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.fromarray(RGB)
    exif = image.getexif()
    exif[0x0112] = 6  # shown turned a quarter clockwise
    image.save(tmp_path / "image.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "image.png"), np.rot90(RGB, -1))


def test_rgb_array_is_not_copied() -> None:
    assert np.shares_memory(read_image(RGB), RGB) and np.array_equal(read_image(RGB), RGB)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (GRAY, np.stack([GRAY] * 3, axis=2)),
        (GRAY[:, :, None], np.stack([GRAY] * 3, axis=2)),
        (np.dstack([GRAY, RGB[:, :, 1]]), np.stack([GRAY] * 3, axis=2)),
        (np.dstack([RGB, np.full_like(GRAY, 255)]), RGB),
        (GRAY > 99, np.stack([(GRAY > 99) * np.uint8(255)] * 3, axis=2)),
        ((RGB / 255).astype(np.float32), RGB),
        (RGB / 255, RGB),
    ],
    ids=["gray", "gray 3-d", "gray and alpha", "alpha", "bool", "unit float32", "unit float64"],
)
def test_array_becomes_rgb_by_its_channels_and_type(source: np.ndarray, expected: np.ndarray) -> None:
    assert np.array_equal(read_image(source), expected)


@pytest.mark.parametrize("values", [WIDE, WIDE.astype(np.int32), WIDE.astype(np.float32)], ids=lambda v: str(v.dtype))
def test_wide_types_are_stretched_with_a_warning(values: np.ndarray) -> None:
    with pytest.warns(UserWarning, match="stretched"):
        read = read_image(values)
    assert np.abs(read[:, :, 0].astype(int) - stretched(values)).max() <= 1  # float32 against float64 rounding
    assert np.array_equal(read[:, :, 0], read[:, :, 2])


def test_stretch_is_the_same_for_all_bands() -> None:
    values = np.dstack([WIDE, WIDE // 2, WIDE // 4])
    with pytest.warns(UserWarning, match="stretched"):
        read = read_image(values)
    assert np.abs(read.astype(int) - stretched(values)).max() <= 1


def test_values_that_are_not_finite_become_zero() -> None:
    values = WIDE.astype(np.float32)
    values[0, 0], values[0, 1] = np.nan, np.inf
    with pytest.warns(UserWarning, match="stretched"):
        assert read_image(values)[0, :2].max() == 0


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_file_equals_its_array(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(WIDE).save(tmp_path / f"image.{suffix}")
    with pytest.warns(UserWarning, match="stretched"):
        assert np.array_equal(read_image(tmp_path / f"image.{suffix}"), read_image(WIDE))


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "YCbCr", "RGB"])
def test_pillow_image_of_any_mode_becomes_rgb(mode: str) -> None:
    image = Image.fromarray(RGB).convert(mode)
    assert np.array_equal(read_image(image), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(
    "source",
    [
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((5, 0), np.uint8),
        np.zeros((4, 5, 5), np.uint8),
        np.zeros((4, 5, 0), np.uint8),
        np.zeros((2, 4, 5, 3), np.uint8),
        np.zeros(4, np.uint8),
        np.array([["a", "b"]]),
        np.zeros((4, 4), complex),
        Image.new("RGB", (0, 5)),
        3.5,
        None,
        b"bytes",
    ],
    ids=lambda source: f"{type(source).__name__} {getattr(source, 'size', '')}",
)
def test_unusable_value_is_refused_in_one_line(source: object) -> None:
    with pytest.raises(InputError) as caught:
        read_image(source)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_truncated_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(RNG.integers(0, 256, (200, 200, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=path.name) as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not an image at all", b"II*\0", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
def test_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"image\.png"):
        read_image(path)


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(InputError, match=path.name):
            read_image(path)


SPEC = ImageSpec(16, mean=(0.48, 0.45, 0.40), std=(0.26, 0.27, 0.28))


def test_preprocess_without_resizing_is_the_formula() -> None:
    image = RNG.integers(0, 256, (16, 16, 3), np.uint8)
    tensor = preprocess(image, SPEC)
    expected = (image.astype(np.float64) / 255 - SPEC.mean) / SPEC.std
    assert tensor.dtype == np.float32 and tensor.flags.c_contiguous
    np.testing.assert_allclose(tensor, expected.transpose(2, 0, 1), atol=1e-6)


@pytest.mark.parametrize("shape", [(8, 8), (40, 24), (16, 50), (1, 1)])
def test_preprocess_resizes_as_antialiased_bilinear(shape: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    image = RNG.integers(0, 256, (*shape, 3), np.uint8)
    planes = torch.from_numpy(image).permute(2, 0, 1)[None].double()
    options = {"mode": "bilinear", "align_corners": False, "antialias": True}
    resized = torch.nn.functional.interpolate(planes, (16, 16), **options)[0].numpy()
    tensor = preprocess(image, SPEC).astype(np.float64)
    restored = (tensor * np.array(SPEC.std)[:, None, None] + np.array(SPEC.mean)[:, None, None]) * 255
    assert np.abs(restored - resized).max() <= 1.01  # Pillow rounds to 8 bits after each axis


@pytest.mark.parametrize("image", [GRAY, RGB.astype(np.float32), np.zeros((4, 4, 4), np.uint8)])
def test_preprocess_refuses_other_than_uint8_rgb(image: np.ndarray) -> None:
    with pytest.raises(InputError, match="uint8"):
        preprocess(image, SPEC)


def test_preprocess_refuses_unknown_resampling() -> None:
    with pytest.raises(BundleError, match="sinc"):
        preprocess(RGB, ImageSpec(16, (0.0,) * 3, (1.0,) * 3, resize="sinc"))


def test_preprocess_gives_a_one_channel_model_the_brightness() -> None:
    gray = np.random.default_rng(0).integers(0, 256, (8, 8, 1), np.uint8)
    tensor = preprocess(gray.repeat(3, axis=2), ImageSpec(8, (0.25,), (0.5,), channels=1))
    assert tensor.shape == (1, 8, 8)
    np.testing.assert_allclose(tensor[0], (gray[..., 0] / 255 - 0.25) / 0.5, atol=1e-6)


@pytest.mark.parametrize("shape", [(8, 20), (20, 8), (9, 9), (7, 8)])
def test_square_holds_the_image_undistorted(shape: tuple[int, int]) -> None:
    image = RNG.integers(0, 256, (*shape, 3), np.uint8)
    square, inner = squared(image, SPEC)
    assert square.shape == (max(shape),) * 2 + (3,) and np.array_equal(square[inner.slices], image)
    around = np.ones(square.shape[:2], bool)
    around[inner.slices] = False
    assert np.abs(square[around] / 255 - SPEC.mean).max(initial=0) < 1 / 255  # nothing, to the model
