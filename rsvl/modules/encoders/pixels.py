"""How the images of published weights were prepared, as the configuration beside them tells."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rsvl.modules.encoders.published import Configuration

_HUGGING_FACE = ("preprocessor_config.json", "processor_config.json")
_OPEN_CLIP, _TIMM = "open_clip_config.json", "config.json"
_RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
"""Pillow's numbers of its filters, as Hugging Face writes them."""


@dataclass(frozen=True)
class Pixels:
    """A published preprocessing.

    Attributes:
        file: the file that tells it.
        mean, std: of each channel of pixels 0…1.
        resize: the filter, by Pillow's name.
        side: of the image that the encoder sees, in pixels; 0 where it is not told.
        shorter: what the image's shorter side becomes before the middle is cut out; 0 where the whole is shown.
        letterbox: whether a border makes the image square.
    """

    file: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: str
    side: int = 0
    shorter: int = 0
    letterbox: bool = False


def told_of_pixels(configuration: Configuration) -> Pixels | None:
    """What Hugging Face's, open_clip's or timm's configuration says of the images; None where none says anything.

    Raises:
        CheckpointError: it is damaged, or its pixels are not 0…1 before the normalisation.
    """
    readers: list[tuple[str, Callable[[str, Mapping[str, Any]], Pixels | None]]] = [
        *((file, _hugging_face) for file in _HUGGING_FACE),
        (_OPEN_CLIP, _open_clip),
        (_TIMM, _timm),
    ]
    for file, read in readers:
        described = configuration.files.get(file)
        try:
            pixels = None if described is None else read(file, described)
            if pixels is not None:
                _check(pixels)
                return pixels
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            problem = f"its preprocessing cannot be followed ({error}): give weights with a usual one"
            raise configuration.refusal(file, problem) from None
    return None


def check_shown_whole(pixels: Pixels, configuration: Configuration, image_size: int) -> None:
    """Holds a preprocessing against what rsvl's CLIP does: the whole image becomes the square that the encoder sees.

    An image that is not square is squeezed, where a published preprocessing cuts out its middle.

    Raises:
        CheckpointError: even a square image would be shown otherwise, or at another size than `image_size`.
    """
    if pixels.side and pixels.side != image_size:
        configuration.check(pixels.file, {"image size": pixels.side}, {"image size": image_size})
    if pixels.letterbox:
        raise configuration.refusal(pixels.file, "its images get a border ('longest'), which rsvl's CLIP has not")
    if pixels.shorter and pixels.side and pixels.shorter != pixels.side:
        problem = f"its images become {pixels.shorter} pixels wide and {pixels.side} are cut out, rsvl shows the whole"
        raise configuration.refusal(pixels.file, f"{problem}: make both sizes equal, and measure what it costs")


def _check(pixels: Pixels) -> None:
    channels = len(pixels.mean), len(pixels.std)
    if channels != (3, 3) or not all(map(math.isfinite, pixels.mean)) or not all(0 < x < 1e6 for x in pixels.std):
        raise ValueError(f"mean {list(pixels.mean)}, std {list(pixels.std)}")
    if pixels.resize not in _RESAMPLING.values():
        raise ValueError(f"resampling {pixels.resize!r}")


def _hugging_face(file: str, described: Mapping[str, Any]) -> Pixels | None:
    told = described.get("image_processor", described)
    if not {"image_mean", "image_std", "size", "resample"} & told.keys():
        return None
    for field, usual in (("do_resize", True), ("do_rescale", True), ("rescale_factor", 1 / 255)):
        if abs(float(told.get(field, usual)) - usual) > 1e-6:
            raise ValueError(f"{field} is {told[field]}")
    plain = not told.get("do_normalize", True)
    size, crop = told.get("size", 224), told.get("crop_size", 224)
    shorter = _side(size) if told.get("do_center_crop", "crop_size" in told) else 0
    return Pixels(
        file,
        mean=(0.0, 0.0, 0.0) if plain else _numbers(told["image_mean"]),
        std=(1.0, 1.0, 1.0) if plain else _numbers(told["image_std"]),
        resize=_RESAMPLING[told.get("resample", 3)],
        side=_side(crop) if shorter else _side(size),
        shorter=shorter,
    )


def _open_clip(file: str, described: Mapping[str, Any]) -> Pixels | None:
    told = described.get("preprocess_cfg")
    if told is None:
        return None
    side, mode = _side(told.get("size", 0)), told.get("resize_mode", "shortest")
    if mode not in ("shortest", "longest", "squash"):
        raise ValueError(f"resize_mode is {mode!r}")
    return Pixels(
        file,
        mean=_numbers(told["mean"]),
        std=_numbers(told["std"]),
        resize=str(told.get("interpolation", "bicubic")),
        side=side,
        shorter=side if mode == "shortest" else 0,
        letterbox=mode == "longest",
    )


def _timm(file: str, described: Mapping[str, Any]) -> Pixels | None:
    told = described.get("pretrained_cfg")
    if told is None or "mean" not in told:
        return None
    return Pixels(
        file,
        mean=_numbers(told["mean"]),
        std=_numbers(told["std"]),
        resize=str(told.get("interpolation", "bicubic")),
        side=int(told["input_size"][-1]) if "input_size" in told else 0,
    )


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(map(float, values))


def _side(size: Any) -> int:
    """A side in pixels, as a number, as two equal ones, or by name."""
    if isinstance(size, Mapping):
        sides = [size["shortest_edge"]] if "shortest_edge" in size else [size["height"], size["width"]]
    else:
        sides = list(size) if isinstance(size, list | tuple) else [size]
    if len(set(sides)) != 1:
        raise ValueError(f"sides of {sides}")
    return int(sides[0])
