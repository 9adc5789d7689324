"""A bundle's manifest: the declaration that models make once and that export, runtime and benchmarks read.

These dataclasses import nothing but the standard library, so that the light runtime and the PyTorch side share them.
A model's file declares a `ModelSpec`; `rsvl.export` writes it with what it measured as a `Manifest` (`manifest.json`);
`rsvl.runtime` reads it back. Dynamic dimensions of a shape are strings, for example ``("batch", 3, 480, 480)``.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any

from rsvl.runtime.errors import BundleError, UsageError
from rsvl.runtime.presence import Presence
from rsvl.runtime.quantization import Quantization

SCHEMA_VERSION = 5
"""2: `Manifest.quantization`. 3: `ImageSpec.letterbox` and the manifest's own SHA-256. 4: `ModelSpec.classes`,
`ModelSpec.align_corners`, a letterbox of a colour. 5: `Manifest.presence`.

A bundle of an earlier version has none and is read as before. `GraphSpec.variants` needed no new version: who does not
know them takes the standard graph.
"""
SCHEMA_WITHOUT_PRESENCE = 4
"""The version of a manifest without `presence`, so that readers from before it take it."""

PRECISIONS = ("fp32", "fp16", "bf16", "int8", "fp8")

_SEAL = "sha256"
_SEALED_SINCE = 3
_MAX_SIDE, _MAX_TOKENS = 1 << 15, 1 << 16
"""Of a model's image in pixels, and of its sentence: what is beyond them is damage."""

#: The tasks that rsvl itself knows, by their public names.
SEGMENTATION = "referring-segmentation"
GROUNDING = "visual-grounding"
VQA = "visual-question-answering"
MATCHING = "image-text-matching"
CLASSIFICATION = "classification"


@dataclass(frozen=True)
class TensorSpec:
    """A graph's input or output: name, shape (a string is a dynamic dimension) and NumPy dtype name."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class GraphVariant:
    """A graph in the form that one backend computes fastest, over the weights that lie beside the standard one.

    Attributes:
        backend: which backend takes it: ``onnxruntime``, on CPUs, or ``openvino``.
        file: its ONNX file.
    """

    backend: str
    file: str


@dataclass(frozen=True)
class GraphSpec:
    """One exported graph. Its inputs are raw inputs (`image`, `tokens`) or outputs of graphs before it, by name.

    `file` is empty in a model's declaration and set by the export; so are `variants`, at most one per backend.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    file: str = ""
    variants: tuple[GraphVariant, ...] = ()

    @property
    def files(self) -> tuple[str, str]:
        """Its standard file, and the one beside it that holds its weights where they are many or it has variants."""
        return self.file, f"{self.file}.data"

    @property
    def all_files(self) -> tuple[str, ...]:
        """Its files and those of its variants; the one of weights need not be there."""
        return *self.files, *(variant.file for variant in self.variants)

    def file_for(self, backend: str) -> str:
        """The file that a backend takes: its variant, or the standard one where there is none."""
        return next((variant.file for variant in self.variants if variant.backend == backend), self.file)


@dataclass(frozen=True)
class ImageSpec:
    """How an image becomes a raw input: resized to `size`×`size`, to 0…1, (x - mean) / std per channel.

    Attributes:
        size: side of the square input in pixels.
        mean: of each channel, 0…1.
        std: of each channel, positive.
        channels: 3 for colour, 1 for a single band such as SAR amplitude.
        resize: resampling, a Pillow filter's name, or ``linear`` or ``cubic``: as OpenCV's, without antialiasing.
        name: the graph input's name.
        sensors: what may be given: ``optical``, ``sar`` or both.
        bands: which bands of a raster of many to show, three or one, by name or by number from 1; none for the usual
            ones (`rsvl.runtime.images.bands`).
        stretch: the percentiles that become black and white where values are not 8-bit.
        letterbox: the gray, 0…255, or the colour, one value per channel, of a border around the image, which then keeps
            its proportions (`rsvl.runtime.images.letterbox`); None resizes it to the square.
        trained_side: side in pixels of the images that the model has learned from, before they were resized to `size`;
            0 for `size` itself. A larger scene is shown in tiles of that side.
        trained_resolution: the least and the largest ground resolution of those images, in metres per pixel; empty
            where it is not known.
        keep_aspect: whether a window that is not square is padded and not distorted. True for a model that has learned
            from square images; False for one that has learned from images distorted to squares.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: int = 3
    resize: str = "bilinear"
    name: str = "image"
    sensors: tuple[str, ...] = ("optical",)
    bands: tuple[str | int, ...] = ()
    stretch: tuple[float, float] = (2.0, 98.0)
    letterbox: int | tuple[int, ...] | None = None
    trained_side: int = 0
    trained_resolution: tuple[float, ...] = ()
    keep_aspect: bool = False


@dataclass(frozen=True)
class TextSpec:
    """How a sentence becomes the `tokens` tensor, padded to `tokens` ids with `pad`.

    Attributes:
        tokens: start and end token included; a sentence with more is cut, with a warning.
        pad: the id of padding.
        tokenizer: the bundle's file.
        keep_end: whether a sentence that is cut keeps its end token in the last place.
        marks: kinds of words that a caller may mark in a sentence; a model with any takes them as the raw input `marks`
            int64 [batch, kinds, tokens]: 1 for marked tokens, 0 for others, -1 where nobody marked any.
    """

    tokens: int
    pad: int = 0
    tokenizer: str = "tokenizer.json"
    keep_end: bool = True
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelSpec:
    """What a model takes and gives. Nothing outside the model's own file depends on its name, only on this.

    Attributes:
        name: the preset's registry name, such as ``cd2fsan-tiny``.
        task: one of the constants above, or any other word for a user-defined module, which is then run by its raw
            inputs' names only.
        paper: the paper's title, for `rsvl models`.
        images: preprocessing of each image input; may be empty for a user-defined module.
        text: text preprocessing; None for a model that takes no text.
        graphs: the graphs to export, in the order in which they run.
        threshold: probability above which a pixel belongs to the mask, or a box counts as found.
        answers: the answer vocabulary of a model that answers questions, in the order of its logits.
        classes: the class names of a scene classifier, in the order of its logits; empty where nobody named them.
        temperature: what its logits are divided by before they become probabilities, above 0: fitted on validation
            images, so that a probability is about the share of right answers (Guo et al., "On Calibration of Modern
            Neural Networks", 2017, section 4.2).
        align_corners: whether the corner pixels of mask logits lie on the input's corner pixels (their centres, as
            PyTorch's ``align_corners=True``) and not the corners of the whole map on those of the whole input.
    """

    name: str
    task: str
    paper: str
    images: tuple[ImageSpec, ...]
    text: TextSpec | None
    graphs: tuple[GraphSpec, ...]
    threshold: float = 0.5
    answers: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    temperature: float = 1.0
    align_corners: bool = False

    @property
    def image(self) -> ImageSpec:
        """The first image input, which is the only one of most models.

        Raises:
            UsageError: the model takes no image.
        """
        if not self.images:
            raise UsageError(f"{self.name} takes no image: run it by the names of its raw inputs")
        return self.images[0]

    def image_for(self, sensor: str) -> ImageSpec:
        """The image input that takes a sensor's images.

        Raises:
            UsageError: the model takes none of that sensor.
        """
        for image in self.images:
            if sensor in image.sensors:
                return image
        known = sorted({name for image in self.images for name in image.sensors})
        raise UsageError(f"{self.name} takes {' or '.join(known) or 'no'} images, not {sensor}: use another model")

    @property
    def words(self) -> TextSpec:
        """The text preprocessing of a model that takes text.

        Raises:
            UsageError: the model takes no text.
        """
        if self.text is None:
            raise UsageError(f"{self.name} takes no text: run it by the names of its raw inputs")
        return self.text

    @property
    def raw_inputs(self) -> dict[str, TensorSpec]:
        """What the graphs take and none of them makes, by name: what the runtime must give."""
        made = {tensor.name for graph in self.graphs for tensor in graph.outputs}
        return {t.name: t for graph in self.graphs for t in graph.inputs if t.name not in made}

    @property
    def final_outputs(self) -> dict[str, TensorSpec]:
        """What the graphs give and none of them takes, by name: what there is to compare."""
        taken = {tensor.name for graph in self.graphs for tensor in graph.inputs}
        return {t.name: t for graph in self.graphs for t in graph.outputs if t.name not in taken}


@dataclass(frozen=True)
class Manifest:
    """`manifest.json` of a bundle.

    Attributes:
        model: the model's declaration, graphs with their files set.
        precision: ``fp32``, ``fp16``, ``bf16``, ``int8`` or ``fp8``.
        files: SHA-256 (hex) of every other file of the bundle, by POSIX path relative to the bundle.
        source: where the weights came from: ``{"weights": name or "random", "sha256": …}``.
        kept_fp32: names of parts that must stay float32 in other precisions, with the reason; in a bundle of another
            precision also those that were found to need it.
        quantization: how an int8 or fp8 bundle came to that; None for other precisions.
        verification: what was compared with PyTorch, or with the float32 bundle that an 8-bit one was made from.
        metrics: known accuracy metrics of these weights, by name.
        versions: versions of the packages that made it.
        presence: says whether what a sentence names is there, where that was fitted (`rsvl calibrate`).

    Examples:
        >>> from pathlib import Path
        >>> manifest = Manifest.from_json(Path("tiny.bundle/manifest.json").read_text())
        >>> list(manifest.model.raw_inputs), list(manifest.model.final_outputs)
        (['image', 'tokens'], ['mask_logits'])
    """

    model: ModelSpec
    precision: str
    files: dict[str, str] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)
    kept_fp32: dict[str, str] = field(default_factory=dict)
    quantization: Quantization | None = None
    verification: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    presence: Presence | None = None
    schema: int = SCHEMA_WITHOUT_PRESENCE

    def to_json(self) -> str:
        """The manifest as indented JSON text with stable key order, its own SHA-256 in it."""
        data = asdict(self)
        if self.presence is None:  # a reader from before it can read the rest
            del data["presence"]
        if self.schema >= _SEALED_SINCE:
            data = seal(data)
        return json.dumps(data, indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Reads a manifest.

        Raises:
            BundleError: not JSON, a schema newer than this rsvl's, changed since it was written, or a field that is
                missing, ill-typed or impossible.
        """
        try:
            data = json.loads(text, parse_constant=_refuse_constant)
            schema = data["schema"]
            if not isinstance(schema, int) or schema > SCHEMA_VERSION:
                raise BundleError(
                    f"bundle schema {schema!r} is newer than this rsvl reads ({SCHEMA_VERSION}): upgrade rsvl"
                )
            if schema >= _SEALED_SINCE or _SEAL in data:
                if seal(data)[_SEAL] != data[_SEAL]:
                    raise BundleError("manifest.json has changed since export (its SHA-256 differs): copy it again")
                del data[_SEAL]
            if data["precision"] not in PRECISIONS:
                raise ValueError(f"precision {data['precision']!r}")
            files = {str(name): str(digest) for name, digest in data["files"].items()}
            about, presence = data.get("quantization"), data.get("presence")
            read = {
                "model": _model(data["model"]),
                "files": files,
                "precision": str(data["precision"]),
                "quantization": None if about is None else Quantization.from_dict(about),
                "presence": None if presence is None else _presence(presence),
            }
            return cls(**{**data, **read})
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise BundleError(f"manifest.json is not a valid bundle manifest ({error!r}): export it again") from error


def seal(data: dict[str, Any]) -> dict[str, Any]:
    """A manifest's fields with the SHA-256 (hex) of their canonical text, keys sorted, under ``sha256``."""
    fields = {name: value for name, value in data.items() if name != _SEAL}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return {**fields, _SEAL: hashlib.sha256(text.encode("ascii")).hexdigest()}


def _presence(data: dict[str, Any]) -> Presence:
    weights = tuple(float(weight) for weight in data["weights"])
    return Presence(weights, float(data["empty"]), dict(data["about"]))  # type: ignore[arg-type]


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _model(data: dict[str, Any]) -> ModelSpec:
    spec = _read_model(data)
    if not 0 < spec.threshold < 1:
        raise ValueError(f"threshold {spec.threshold} is not between 0 and 1")
    if not 0 < spec.temperature < math.inf:
        raise ValueError(f"temperature {spec.temperature} is not above 0")
    if len(set(spec.classes)) != len(spec.classes):
        raise ValueError("two classes have the same name")
    if not spec.graphs:
        return spec  # a declaration, not yet exported
    _check_order(spec)
    for image in spec.images:
        _check_shape(spec, image.name, (image.channels, image.size, image.size))
    if spec.text is not None and "tokens" in spec.raw_inputs:
        _check_shape(spec, "tokens", (spec.text.tokens,))
    return spec


def _check_order(spec: ModelSpec) -> None:
    known = set(spec.raw_inputs)
    for graph in spec.graphs:
        missing = [tensor.name for tensor in graph.inputs if tensor.name not in known]
        if missing:
            raise ValueError(f"graph {graph.name} runs before what makes its {', '.join(missing)}")
        known.update(tensor.name for tensor in graph.outputs)
    if len({graph.name for graph in spec.graphs}) != len(spec.graphs):
        raise ValueError("two graphs have the same name")
    for graph in spec.graphs:
        if len({variant.backend for variant in graph.variants}) != len(graph.variants):
            raise ValueError(f"graph {graph.name} has two variants for one backend")


def _check_shape(spec: ModelSpec, name: str, expected: tuple[int, ...]) -> None:
    """Holds what is said of an input against the graph that takes it; its first dimension is the batch."""
    if name not in spec.raw_inputs:
        raise ValueError(f"no graph takes the input {name}")
    shape = spec.raw_inputs[name].shape[1:]
    pairs = zip(shape, expected, strict=False)
    if len(shape) != len(expected) or not all(isinstance(taken, str) or taken == size for taken, size in pairs):
        raise ValueError(f"{name}: {list(expected)} was declared, its graph takes {list(shape)}")


def _read_model(data: dict[str, Any]) -> ModelSpec:
    if len({image["name"] for image in data["images"]}) != len(data["images"]):
        raise ValueError("images: two have the same name")
    return ModelSpec(
        **{
            **data,
            "images": tuple(_image(image) for image in data["images"]),
            "text": None if data["text"] is None else _text(data["text"]),
            "graphs": tuple(_graph(g) for g in data["graphs"]),
            "threshold": float(data["threshold"]),
            "answers": tuple(str(answer) for answer in data["answers"]),
            "classes": tuple(str(name) for name in data.get("classes", ())),
            "temperature": float(data.get("temperature", 1.0)),
            "align_corners": bool(data.get("align_corners", False)),
        }
    )


def _image(data: dict[str, Any]) -> ImageSpec:
    mean, std = (tuple(float(v) for v in data[key]) for key in ("mean", "std"))
    sensors = tuple(str(sensor) for sensor in data["sensors"])
    size, channels = int(data["size"]), int(data["channels"])
    bands = tuple(band if isinstance(band, int) else str(band) for band in data["bands"])
    low, high = (float(percentile) for percentile in data["stretch"])
    resize, name = str(data["resize"]), str(data["name"])
    letterbox = _border(data.get("letterbox"))
    side = int(data.get("trained_side", 0))
    resolution = tuple(float(metres) for metres in data.get("trained_resolution", ()))
    keep_aspect = bool(data.get("keep_aspect", False))
    stretch = (low, high)
    spec = ImageSpec(
        size, mean, std, channels, resize, name, sensors, bands, stretch, letterbox, side, resolution, keep_aspect
    )
    if side < 0 or len(resolution) not in (0, 2) or any(not 0 < metres < math.inf for metres in resolution):
        raise ValueError("image: trained_side is pixels, and trained_resolution two lengths in metres")
    finite = all(math.isfinite(value) for value in (*mean, *std))
    if not 1 <= size <= _MAX_SIDE or not len(mean) == len(std) == channels or min(std, default=0) <= 0 or not finite:
        raise ValueError("image: size, channels, mean and std do not fit together")
    if len(bands) not in (0, 1, 3) or not 0 <= low < high <= 100:
        raise ValueError("image: bands are three or one, and stretch two percentiles")
    border = (letterbox,) if isinstance(letterbox, int) else letterbox or ()
    if not all(0 <= value <= 255 for value in border) or len(border) not in (0, 1, channels):
        raise ValueError("image: a letterbox is a gray or a colour, each value 0 to 255")
    return spec


def _border(value: Any) -> int | tuple[int, ...] | None:
    if isinstance(value, list | tuple):
        return tuple(int(channel) for channel in value)
    return None if value is None else int(value)


def _text(data: dict[str, Any]) -> TextSpec:
    spec = TextSpec(
        int(data["tokens"]),
        int(data["pad"]),
        str(data["tokenizer"]),
        bool(data.get("keep_end", True)),  # earlier bundles have neither
        tuple(str(kind) for kind in data.get("marks", ())),
    )
    if not 3 <= spec.tokens <= _MAX_TOKENS or not 0 <= spec.pad < 1 << 31:
        raise ValueError("text: tokens must have room for start, word and end, and pad be an id")
    return spec


def _graph(data: dict[str, Any]) -> GraphSpec:
    return GraphSpec(
        name=str(data["name"]),
        inputs=tuple(_tensor(t) for t in data["inputs"]),
        outputs=tuple(_tensor(t) for t in data["outputs"]),
        file=str(data["file"]),
        variants=tuple(GraphVariant(str(v["backend"]), str(v["file"])) for v in data.get("variants", ())),
    )


def _tensor(data: dict[str, Any]) -> TensorSpec:
    shape = tuple(d if isinstance(d, str) else int(d) for d in data["shape"])
    return TensorSpec(name=str(data["name"]), shape=shape, dtype=str(data["dtype"]))
