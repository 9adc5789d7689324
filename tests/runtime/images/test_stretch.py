"""Values of any type to 8 bits, each against arithmetic in float64."""

from __future__ import annotations

import numpy as np
import pytest

from rsvl.runtime.errors import UsageError
from rsvl.runtime.images.options import StretchOption
from rsvl.runtime.images.stretch import find_stretch, nearly_one_colour

RNG = np.random.default_rng(5)
REFLECTANCE = (RNG.beta(2, 8, (40, 30, 3)) * 0.4).astype(np.float32)
POWER = (0.05 * RNG.gamma(4, 0.25, (60, 50, 1))).astype(np.float32)
PICTURE = RNG.integers(0, 256, (40, 30, 3), np.uint8)


def to_8_bits(values: np.ndarray, asked: str = "", bits: int | None = None, sar: bool = False) -> np.ndarray:
    option = StretchOption.parse(asked) if asked else None
    bits = 8 * values.dtype.itemsize if bits is None else bits
    return find_stretch(values, bits, sar=sar, asked=option).apply(values)


def linear(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.clip((values.astype(np.float64) - low) / (high - low), 0, 1) * 255


@pytest.mark.parametrize("factor", [1.0, 10_000.0, 65_535.0 / 0.4])
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16"])
def test_reflectance_looks_the_same_in_any_scale(factor: float, dtype: str) -> None:
    if dtype == "uint16" and factor == 1:
        pytest.skip("reflectance 0…0.4 has no whole numbers")
    values = (REFLECTANCE * factor).astype(dtype)
    expected = linear(REFLECTANCE, *np.percentile(REFLECTANCE, (2, 98)))
    assert np.abs(to_8_bits(values) - expected).max() <= 1


def test_one_pixel_beyond_one_changes_nothing_else() -> None:
    values = (RNG.beta(2, 8, (200, 200, 3)) * 0.4).astype(np.float32)
    other = values.copy()
    other[0, 0] = 1.7
    assert np.abs(to_8_bits(other).astype(int) - to_8_bits(values))[1:].max() <= 1


def test_power_amplitude_and_decibels_of_a_sar_are_one_picture() -> None:
    decibels = 10 * np.log10(POWER.astype(np.float64))
    expected = linear(decibels, *np.percentile(decibels, (2, 98)))
    for values in (POWER, np.sqrt(POWER), decibels, decibels.astype(np.float32), POWER * 1000):
        assert np.abs(to_8_bits(values, sar=True) - expected).max() <= 1


def test_power_of_zero_is_black_and_counts_for_nothing() -> None:
    values = POWER.copy()
    values[:20] = 0
    shown = to_8_bits(values, sar=True)
    assert (shown[:20] == 0).all()
    assert np.array_equal(shown[20:], to_8_bits(POWER[20:], sar=True))


def test_integers_of_a_sar_are_not_turned_into_decibels() -> None:
    amplitude = RNG.rayleigh(300, (40, 30, 1)).astype(np.uint16)
    expected = linear(amplitude, *np.percentile(amplitude, (2, 98)))
    assert np.abs(to_8_bits(amplitude, sar=True) - expected).max() <= 1


@pytest.mark.parametrize(
    "values",
    [
        PICTURE,
        PICTURE.astype(np.uint16) * 257,
        PICTURE.astype(np.uint16),
        PICTURE.astype(np.int64),
        PICTURE.astype(np.float32),
        PICTURE / 255,
        (PICTURE / 255).astype(np.float32),
        (PICTURE / 255).astype(np.float16),
    ],
    ids=["uint8", "times 257", "uint16", "int64", "float32", "unit float64", "unit float32", "unit float16"],
)
def test_picture_of_8_bits_stays_as_it_is_in_any_type(values: np.ndarray) -> None:
    assert np.array_equal(to_8_bits(values), PICTURE)


@pytest.mark.parametrize(("bits", "levels"), [(1, 2), (2, 4), (4, 16), (6, 64)])
def test_fewer_bits_use_the_whole_range(bits: int, levels: int) -> None:
    values = np.arange(levels, dtype=np.uint8)[:, None, None]
    assert np.array_equal(to_8_bits(values, bits=bits).ravel(), np.rint(np.arange(levels) * 255 / (levels - 1)))


def test_twelve_bits_are_stretched_between_percentiles() -> None:
    values = RNG.integers(0, 2048, (40, 30, 3)).astype(np.uint16)
    expected = linear(values, *np.percentile(values, (2, 98)))
    assert np.abs(to_8_bits(values, bits=12) - expected).max() <= 1


WIDE = RNG.integers(0, 4096, (40, 30, 1)).astype(np.uint16)


@pytest.mark.parametrize(
    ("values", "asked", "bits", "low", "high"),
    [
        (WIDE, "100,3000", 16, 100, 3000),
        (WIDE, "-100.5,3e3", 16, -100.5, 3000),
        (WIDE, "none", 16, 0, 65535),
        (WIDE, "none", 12, 0, 4095),
        (WIDE, "10", 16, *np.percentile(WIDE, (10, 90))),
        (WIDE, "0", 16, WIDE.min(), WIDE.max()),
        (PICTURE, "50,200", 8, 50, 200),
        (PICTURE, "5", 8, *np.percentile(PICTURE, (5, 95))),
        (REFLECTANCE, "0,1", 32, 0, 1),
        (REFLECTANCE, "none", 32, 0, 1),
        (WIDE.astype(np.int16), "none", 16, -32768, 32767),
    ],
)
def test_stretch_asked_for_is_linear_between_its_limits(
    values: np.ndarray, asked: str, bits: int, low: float, high: float
) -> None:
    assert np.abs(to_8_bits(values, asked, bits) - linear(values, low, high)).max() <= 1


@pytest.mark.parametrize("asked", ["db", "db:2", "db:-25,0"])
def test_decibels_can_be_asked_for(asked: str) -> None:
    decibels = 10 * np.log10(POWER.astype(np.float64))
    low, high = (-25, 0) if "," in asked else np.percentile(decibels, (2, 98))
    assert np.abs(to_8_bits(POWER, asked) - linear(decibels, low, high)).max() <= 1


@pytest.mark.parametrize("text", ["", "x", "1,", "5,1", "2,2", "50", "-1", "1,2,3", "nan,1", "0,inf", "db:x", "auto"])
def test_stretch_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="LO,HI"):
        StretchOption.parse(text)


def test_lowest_is_white_where_it_is_inverted() -> None:
    stretch = find_stretch(PICTURE, 8).inverted()
    assert np.array_equal(stretch.apply(PICTURE), 255 - PICTURE)


@pytest.mark.parametrize("value", [0.0, 7.5, -3.0])
def test_values_that_are_all_the_same_are_gray(value: float) -> None:
    assert (np.abs(to_8_bits(np.full((4, 5, 1), value, np.float32)).astype(int) - 128) <= 1).all()


def test_mostly_constant_values_are_stretched_between_their_extremes() -> None:
    values = np.zeros((100, 100, 1), np.float32)
    values[0, 0], values[0, 1] = 8.5, 4.25
    assert to_8_bits(values)[0, :3, 0].tolist() == [255, 128, 0]


@pytest.mark.parametrize(("spread", "told"), [(3, True), (40, False)])
def test_picture_of_nearly_one_colour_is_told(spread: int, told: bool) -> None:
    pixels = (np.array([90, 60, 30]) + RNG.integers(0, spread, (500, 3))).astype(np.uint8)
    assert bool(nearly_one_colour(pixels)) == told
