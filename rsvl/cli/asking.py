"""How `rsvl run` asks a bundle of each task, and what it shows and writes of the answer."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsvl.runtime.errors import InputError, UsageError
from rsvl.runtime.manifest import ANSWERING, GROUNDING, MATCHING, SEGMENTATION

if TYPE_CHECKING:
    import numpy as np

    from rsvl.runtime import Answerer, Grounder, Matcher, Runner, Segmentation, Segmenter
    from rsvl.runtime.located import Located
    from rsvl.runtime.manifest import ModelSpec


@dataclass(frozen=True)
class Request:
    """What is asked about one place.

    Attributes:
        image, sar: its optical and its SAR picture; one of them may be absent.
        texts: sentences, questions or labels.
        threshold, tile: as the runners take them.
        output: folder for the results.
        geotiff, geojson, mask: what to write beside the picture.
        progress: told how far the work is.
    """

    image: Path | None
    sar: Path | None
    texts: list[str]
    threshold: float | None
    tile: Any
    output: Path
    geotiff: bool
    geojson: bool
    mask: bool
    progress: Callable[[int, int], None]

    @property
    def only(self) -> tuple[Path, str]:
        """The one picture of a model that takes one, and its sensor.

        Raises:
            UsageError: a pair was given.
        """
        if self.image is not None and self.sar is not None:
            raise UsageError("this model looks at one image at a time: give an image or --sar, not a pair")
        path = self.image or self.sar
        assert path is not None
        return path, "sar" if self.image is None else "optical"

    @property
    def stem(self) -> str:
        """What the results' names begin with."""
        path = self.image or self.sar
        assert path is not None
        return path.stem


@dataclass(frozen=True)
class Told:
    """What came of a request.

    Attributes:
        found: one entry a sentence, as JSON takes it.
        lines: the same for people.
        files: what was written.
        about: said of the picture beside its name.
    """

    found: list[dict[str, Any]]
    lines: list[str]
    files: list[Path] = field(default_factory=list)
    about: str = ""


def ask(runner: Runner, request: Request) -> Told:
    """Asks a loaded bundle by its task; one of a task that rsvl does not know by the raw inputs in a `.npz` file.

    Raises:
        UsageError: options that do not go with the task, or no text for one that needs it.
        InputError: a picture or file that cannot be used.
        OutputError: a result cannot be written.
    """
    asker = _ASKERS.get(runner.spec.task)
    if asker is None:
        return _raw(runner, request)
    if not request.texts:
        raise UsageError("nothing is asked: say what to find, answer or tell apart with --text")
    return asker(runner, request)


def _segment(runner: Segmenter, request: Request) -> Told:
    path, sensor = request.only
    runner.image_for(sensor)
    found = runner.segment(path, request.texts, request.threshold, tile=request.tile, progress=request.progress)
    files = _write(found, request, "outlines", masks=True)
    if request.mask:
        for number, each in enumerate(found, start=1):
            files.append(request.output / f"{request.stem}-mask-{number}.png")
            _write_mask(each.mask, files[-1])
    return Told([each.to_dict() for each in found], [_masked(each) for each in found], files, _size(found))


def _ground(runner: Grounder, request: Request) -> Told:
    path, sensor = request.only
    _refuse(request, "gives boxes and no masks", geotiff=request.geotiff, mask=request.mask)
    found = runner.ground(
        path, request.texts, request.threshold, sensor=sensor, tile=request.tile, progress=request.progress
    )
    lines = []
    for each in found:
        if each.box is None:
            lines.append(f"not found  {_short(each.text)}")
            continue
        x1, y1, x2, y2 = each.box
        more = f", and {len(each.boxes) - 1} more" if len(each.boxes) > 1 else ""
        lines.append(f"{each.score:.2f}  {_short(each.text)}: x {x1:.0f}–{x2:.0f}, y {y1:.0f}–{y2:.0f}{more}")
    return Told([each.to_dict() for each in found], lines, _write(found, request, "boxes", masks=False), _size(found))


def _answer(runner: Answerer, request: Request) -> Told:
    _refuse_maps(request, "answers questions")
    found = runner.answer(request.texts, request.image, request.sar)
    lines = []
    for each in found:
        lines.append(f"{each.probability:.2f}  {_short(each.question)} {each.answer}")
        if each.warning:
            lines.append(f"      {each.warning}")
    return Told([each.to_dict() for each in found], lines)


def _classify(runner: Matcher, request: Request) -> Told:
    path, sensor = request.only
    runner.image_for(sensor)
    _refuse_maps(request, "compares images with sentences")
    found = runner.classify(path, request.texts)
    lines = [f"{probability:.2f}  {_short(label)}" for label, probability in found.probabilities.items()]
    return Told([found.to_dict()], lines)


def _raw(runner: Runner, request: Request) -> Told:
    import numpy as np

    from rsvl.runtime.atomic import replacing

    path, _ = request.only
    _refuse(request, "is run by raw inputs", text=bool(request.texts))
    _refuse_maps(request, "is run by raw inputs")
    outputs = runner.run(**_raw_inputs(path, runner.spec))
    file = request.output / f"{request.stem}-outputs.npz"
    with replacing(file) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **outputs)
    shapes = {name: list(array.shape) for name, array in outputs.items()}
    return Told([{"outputs": shapes}], [f"{name} {shape}" for name, shape in shapes.items()], [file])


def _raw_inputs(path: Path, spec: ModelSpec) -> dict[str, np.ndarray]:
    """What a `.npz` file holds; or a picture, where an image is all that the model takes."""
    import numpy as np

    from rsvl.runtime.image import preprocess, read_image

    if path.suffix != ".npz" and list(spec.raw_inputs) == [image.name for image in spec.images]:
        return {spec.image.name: preprocess(read_image(path, spec.image), spec.image)[None]}
    try:
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)
    except (OSError, ValueError, EOFError, TypeError) as error:
        wanted = ", ".join(spec.raw_inputs)
        raise InputError(f"{path}: {spec.name} takes a .npz file of {wanted}") from error


_ASKERS: dict[str, Callable[[Any, Request], Told]] = {
    SEGMENTATION: _segment,
    GROUNDING: _ground,
    ANSWERING: _answer,
    MATCHING: _classify,
}


def _write(found: Sequence[Located], request: Request, vectors: str, masks: bool) -> list[Path]:
    """The picture; for a georeferenced image also masks and outlines on the map."""
    from rsvl.runtime.located import save

    georeferenced = found[0].georeference is not None
    suffixes = ["overlay.png"]
    if masks and (request.geotiff or georeferenced):
        suffixes.append("masks.tif")
    if request.geojson or georeferenced:
        suffixes.append(f"{vectors}.geojson")
    files = [request.output / f"{request.stem}-{suffix}" for suffix in suffixes]
    for file in files:
        save(found, file)
    return files


def _write_mask(mask: np.ndarray, path: Path) -> None:
    from PIL import Image

    from rsvl.runtime.atomic import replacing

    with replacing(path) as temporary:
        Image.fromarray(mask).convert("L").save(temporary, "PNG")


def _masked(found: Segmentation) -> str:
    if found.box is None:
        return f"not found  {_short(found.text)}"
    x1, y1, x2, y2 = found.box
    return f"{found.score:.2f}  {_short(found.text)}: {found.area} px in x {x1}–{x2}, y {y1}–{y2}"


def _short(text: str) -> str:
    return textwrap.shorten(text, 100, placeholder=" …")


def _size(found: Sequence[Located]) -> str:
    height, width = found[0].size
    return f"{width} × {height}, "


def _refuse_maps(request: Request, what: str) -> None:
    _refuse(
        request,
        what,
        geotiff=request.geotiff,
        geojson=request.geojson,
        mask=request.mask,
        threshold=request.threshold is not None,
        tile=request.tile != "auto",
    )


def _refuse(request: Request, what: str, **given: bool) -> None:
    wrong = [f"--{name}" for name, is_given in given.items() if is_given]
    if wrong:
        raise UsageError(f"this model {what}: leave {' and '.join(wrong)} out")
