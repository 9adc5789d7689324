"""Writes scenes for visual grounding, in DIOR-RSVG's layout with a sensor per image (`rsvl.data.dior_rsvg`).

Each sentence is an object of its own, as DIOR-RSVG has it, so one described twice stands twice with the same box. With
the sensor "both", a scene is two images, ``000000.jpg`` and ``000000_sar.jpg``. A SAR image has its own sentences,
which mention no colour; none of them names something that the image has no pixels of.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

import numpy as np

from rsvl.data.synth import language
from rsvl.data.synth.generate import generate
from rsvl.data.synth.labels import SPLITS, Job, Labels, write_jpeg
from rsvl.data.synth.records import asked_category
from rsvl.data.synth.scene import Expression, Scene, SceneObject

_IMAGES, _ANNOTATIONS = Path("JPEGImages"), Path("Annotations")
_SAR_SENTENCES = 2  # random stream


class GroundingLabels(Labels):
    """Boxes and the sentences that name them."""

    sensors = ("optical", "sar", "both")
    unit = "expressions"

    def __init__(self, seed: int, size: int, sensor: str) -> None:
        """See `Labels`."""
        super().__init__(seed, size, sensor)
        self._images: dict[str, tuple[str, int]] = {}

    @property
    def folders(self) -> tuple[Path, ...]:
        """See `Labels.folders`."""
        return _IMAGES, _ANNOTATIONS

    @staticmethod
    def make(job: Job) -> tuple[int, dict[str, int]]:
        """See `Labels.make`. Returns the number of objects, and that of sentences by image."""
        scene = generate((job.seed, job.index), job.size, with_sar=job.sar)
        sentences = {}
        for sensor, stem, pixels, expressions in _images(job, scene):
            write = job.write_optical if sensor == "optical" else write_jpeg
            write(job.folder / _IMAGES / f"{stem}.jpg", pixels)
            tree = _annotation(f"{stem}.jpg", sensor, job.size, scene.objects, expressions)
            tree.write(job.folder / _ANNOTATIONS / f"{stem}.xml", encoding="utf-8", xml_declaration=True)
            sentences[stem] = len(expressions)
        return len(scene.objects), sentences

    def add(self, made: tuple[int, dict[str, int]], split: str) -> None:
        """See `Labels.add`."""
        objects, sentences = made
        self.objects += objects
        for stem, count in sentences.items():
            self._images[f"{stem}.xml"] = split, count
            self.counts[split] += count

    def finish(self, folder: Path) -> None:
        """See `Labels.finish`: the splits' numbers run through the annotations in the order of their names."""
        numbers: dict[str, list[int]] = {split: [] for split in SPLITS}
        running = 0
        for name in sorted(self._images):
            split, count = self._images[name]
            numbers[split] += range(running, running + count)
            running += count
        for split, found in numbers.items():
            if found:
                (folder / f"{split}.txt").write_text("".join(f"{number}\n" for number in found))


def _images(job: Job, scene: Scene) -> Iterator[tuple[str, str, np.ndarray, Sequence[Expression]]]:
    """A scene's images: sensor, name without suffix, pixels, sentences."""
    if job.optical:
        yield "optical", f"{job.index:06d}", scene.image, scene.expressions
    if scene.sar is not None:
        yield "sar", f"{job.index:06d}_sar", scene.sar, without_colours(job.rng(_SAR_SENTENCES), scene, job.size)


def without_colours(rng: np.random.Generator, scene: Scene, size: int) -> list[Expression]:
    """Sentences about a scene that mention no colour, as a radar image has none."""
    gray = [replace(thing, colour=None) for thing in scene.objects]
    return [e for e in language.describe(rng, gray, size) if "colour" not in dict(e.program)]


def _annotation(
    file: str, sensor: str, size: int, objects: Sequence[SceneObject], expressions: Sequence[Expression]
) -> ElementTree:
    root = Element("annotation")
    SubElement(root, "filename").text = file
    SubElement(SubElement(root, "source"), "database").text = "rsvl synth"
    SubElement(root, "sensor").text = sensor
    extent = SubElement(root, "size")
    depth = 3 if sensor == "optical" else 1
    for name, value in (("width", size), ("height", size), ("depth", depth)):
        SubElement(extent, name).text = str(value)
    for expression in expressions:
        _add_object(root, expression, objects)
    indent(root)
    return ElementTree(root)


def _add_object(root: Element, expression: Expression, objects: Sequence[SceneObject]) -> None:
    entry = SubElement(root, "object")
    SubElement(entry, "name").text = asked_category(expression)
    if expression.target is None:
        SubElement(entry, "no_target").text = "1"
    else:
        x, y, w, h = (int(v) for v in objects[expression.target].bbox)
        box = SubElement(entry, "bndbox")
        for corner, value in (("xmin", x), ("ymin", y), ("xmax", x + w), ("ymax", y + h)):
            SubElement(box, corner).text = str(value)
    SubElement(entry, "description").text = expression.text
