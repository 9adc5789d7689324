"""What `rsvl run` asks of a bundle, and how it shows the results."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsvl.cli.outputs import check_free_space
from rsvl.runtime.errors import UsageError

if TYPE_CHECKING:
    from rsvl.runtime import Query, Runner
    from rsvl.runtime.images.scene import Scene
    from rsvl.runtime.results.base import Result

_OVERLAY_PIXELS = 2048**2


@dataclass(frozen=True)
class RunOutput:
    """The results of a query.

    Attributes:
        results: one per sentence, or as the task has it.
        files: what was written.
    """

    results: Sequence[Result]
    files: Sequence[Path]

    @property
    def size(self) -> str:
        """The image's size for people, where the results lie in one; else empty."""
        from rsvl.runtime.results.base import SpatialResult

        first = self.results[0]
        return f"{first.size[1]} × {first.size[0]}, " if isinstance(first, SpatialResult) else ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        read = [reading.to_dict() for reading in self.results[0].readings] if self.results else []
        return {
            "read": read,
            "files": [str(file) for file in self.files],
            "found": [result.to_dict() for result in self.results],
        }

    def lines(self) -> list[str]:
        """For people: the results, then the files."""
        lines = [line for result in self.results for line in result.lines()]
        return lines + [f"wrote {file}" for file in self.files]


def check_options(runner: Runner, options: Collection[str]) -> None:
    """Refuses options that have no effect on a bundle's task.

    Args:
        runner: the bundle.
        options: the names of those that were given and that only some tasks have (`Runner.options`).

    Raises:
        UsageError: some have none.
    """
    unused = [f"--{name}" for name in options if name not in runner.options]
    if unused:
        raise UsageError(f"this model {runner.purpose}: leave {' and '.join(unused)} out")


def dispatch(runner: Runner, query: Query, folder: Path, stem: str, options: Collection[str]) -> RunOutput:
    """Asks a loaded bundle and writes what belongs to the results.

    Args:
        runner: the bundle.
        query: what is asked.
        folder: where the files go.
        stem: what their names begin with.
        options: names of those that were given and that only some tasks have (`Runner.options`).

    Raises:
        UsageError: no text for a task that needs it.
        InputError: an image or file that cannot be used.
        OutputError: a result cannot be written, or there is no room for them.
    """
    from rsvl.runtime.results.image_files import save_all

    if "geojson" in runner.options:  # results that lie in the image
        (sensor, _), sentences = query.only_image, query.sentences
        scene = query.open(sensor, runner.image_for(sensor))
        check_free_space(folder, _room(scene, len(sentences), runner), "-o")
        query = replace(query, images={sensor: scene})
    results = runner.ask(query)
    forms = {name: name in options for name in ("geotiff", "geojson", "projected", "mask")}
    files = save_all(results, folder, stem, **forms)
    return RunOutput(results, files)


def _room(scene: Scene, sentences: int, runner: Runner) -> int:
    """Bytes that the results of a scene may take: a bit per pixel of each mask, and an overlay."""
    pixels = scene.height * scene.width
    masks = sentences * pixels // 8 if "mask" in runner.options else 0
    return masks + 3 * min(pixels, _OVERLAY_PIXELS)
