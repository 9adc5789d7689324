"""What a manifest says about int8 or fp8: how the bundle was calibrated, what each part costs, and what was chosen.

These dataclasses import nothing but the standard library; `rsvl.export.quantization` fills them. Their fields are the
keys of `manifest.json`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FP8 = "fp8"
"""The precision of 8-bit floating point (E4M3)."""


@dataclass(frozen=True)
class Measured:
    """A dataset and what of it was used.

    Attributes:
        data: the dataset's name.
        split: of the dataset.
        images: how many images, from the first on.
    """

    data: str
    split: str
    images: int


@dataclass(frozen=True)
class LayerGroup:
    """A part of the model that is quantized as a whole or not at all.

    Attributes:
        name: path of the part in the PyTorch model, such as ``image_encoder.stem``.
        layers: how many layers of it can be quantized.
        weights: number of elements of their weights.
        multiply_adds: MACs for one image and sentence that 8 bits would compute; 0 where only weights are quantized.
        quantized: whether it is in 8 bits.
        drop: how much lower the metric is with this part alone in 8 bits, in units of the metric (0…1; below 0 where
            it rose by chance); None where it was not measured.
    """

    name: str
    layers: int
    weights: int
    multiply_adds: int
    quantized: bool
    drop: float | None = None


@dataclass(frozen=True)
class Quantization:
    """How a bundle was quantized to int8 or fp8.

    Attributes:
        activations: whether activations are in 8 bits too, so that the arithmetic is; else only weights are stored so.
        groups: the model's parts, in the order in which they run.
        smoothed: how many layer norms had scales moved into the linear layers after them (SmoothQuant).
        calibrator: ``entropy``, ``percentile`` or ``minmax``; empty for weights only.
        calibration: what gave the activations' ranges; None for weights only.
        figure: the name of the metric that decided, such as ``mIoU``; empty where none was measured.
        measured_on: what it was measured on.
        baseline: the metric in float32, 0…1.
        value: the metric of this bundle.
        allowed_drop: how much lower than the baseline it might be.
    """

    activations: bool
    groups: tuple[LayerGroup, ...]
    smoothed: int = 0
    calibrator: str = ""
    calibration: Measured | None = None
    figure: str = ""
    measured_on: Measured | None = None
    baseline: float | None = None
    value: float | None = None
    allowed_drop: float | None = None

    @property
    def measured_by(self) -> str:
        """What parts are sized by: MACs, or weights where only those are in 8 bits."""
        return "MACs" if self.activations else "weights"

    @property
    def shares(self) -> tuple[float, ...]:
        """The parts' shares of all that can be in 8 bits, 0…1."""
        return tuple(size / max(sum(self._sizes), 1) for size in self._sizes)

    @property
    def share(self) -> float:
        """The share of all that can be in 8 bits that is, 0…1."""
        inside = sum(size for size, group in zip(self._sizes, self.groups, strict=True) if group.quantized)
        return inside / max(sum(self._sizes), 1)

    @property
    def _sizes(self) -> list[int]:
        return [group.multiply_adds if self.activations else group.weights for group in self.groups]

    def kept(self, precision: str) -> dict[str, str]:
        """The parts that are not in 8 bits, ``int8`` or ``fp8``, with the reason."""
        said = f"its accuracy in {precision}: {self.figure} drops by"
        return {g.name: f"{said} {g.drop or 0.0:.4f} with it alone" for g in self.groups if not g.quantized}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Quantization:
        """Reads what `dataclasses.asdict` gave.

        Raises:
            ValueError, KeyError, TypeError: a field that is missing, unknown or of another type or range.
        """
        groups = tuple(_group(group) for group in data["groups"])
        if len({group.name for group in groups}) != len(groups):
            raise ValueError("quantization: two groups have the same name")
        return cls(
            activations=_flag(data["activations"]),
            groups=groups,
            smoothed=_count(data["smoothed"]),
            calibrator=str(data["calibrator"]),
            calibration=_measured(data["calibration"]),
            figure=str(data["figure"]),
            measured_on=_measured(data["measured_on"]),
            baseline=_number(data["baseline"]),
            value=_number(data["value"]),
            allowed_drop=_number(data["allowed_drop"]),
        )


def _group(data: dict[str, Any]) -> LayerGroup:
    counts = {name: _count(data[name]) for name in ("layers", "weights", "multiply_adds")}
    return LayerGroup(name=str(data["name"]), **counts, quantized=_flag(data["quantized"]), drop=_number(data["drop"]))


def _measured(data: dict[str, Any] | None) -> Measured | None:
    return None if data is None else Measured(str(data["data"]), str(data["split"]), _count(data["images"]))


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"quantization: {value!r} is neither true nor false")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"quantization: {value!r} is no count")
    return value


def _number(value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    if not -1 <= number <= 1:
        raise ValueError(f"quantization: a metric of {value!r}")
    return number
