"""Writes scenes with captions, in RSICD's layout: what kind of place it is, what is there, where some of it is."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rsvl.data.synth.generate import generate
from rsvl.data.synth.labels import Job, Labels
from rsvl.data.synth.question_draft import article, nouns
from rsvl.data.synth.scene import Scene

_IMAGES = Path("RSICD_images")
_CAPTIONS = 5  # random stream
#: RSICD's number of sentences per image, and how many of them name an object.
_SENTENCES, _OBJECTS = 5, 2
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six")

#: What each setting is called.
PLACES: dict[str, str] = {
    "harbour": "a harbour", "open water": "open water", "airport": "an airport", "residential": "a residential area",
    "countryside": "the countryside", "industrial": "an industrial area", "junction": "a road junction",
    "river": "a river", "sports": "a sports ground",
}  # fmt: skip


class CaptionLabels(Labels):
    """Sentences about the whole scene."""

    sensors = ("optical",)
    unit = "captions"

    def __init__(self, seed: int, size: int, sensor: str) -> None:
        """See `Labels`."""
        super().__init__(seed, size, sensor)
        self._images: list[dict[str, Any]] = []

    @property
    def folders(self) -> tuple[Path, ...]:
        """See `Labels.folders`."""
        return (_IMAGES,)

    @staticmethod
    def make(job: Job) -> tuple[str, int, list[str]]:
        """See `Labels.make`. Returns the image's name, the number of objects and the sentences."""
        scene = generate((job.seed, job.index), job.size)
        name = f"{job.index:06d}.jpg"
        job.write_optical(job.folder / _IMAGES / name, scene.image)
        return name, len(scene.objects), captions(job.rng(_CAPTIONS), scene)

    def add(self, made: tuple[str, int, list[str]], split: str) -> None:
        """See `Labels.add`."""
        name, objects, texts = made
        first = self.counts.total()
        ids = list(range(first, first + len(texts)))
        sentences = [{"raw": t, "tokens": t.rstrip(".").split(), "sentid": i} for i, t in zip(ids, texts, strict=True)]
        image = {"filename": name, "imgid": len(self._images), "split": split}
        self._images.append({**image, "sentences": sentences, "sentids": ids})
        self.counts[split] += len(texts)
        self.objects += objects

    def finish(self, folder: Path) -> None:
        """See `Labels.finish`."""
        (folder / "dataset_rsicd.json").write_text(json.dumps({"images": self._images, "dataset": "rsvl synth"}))


def captions(rng: np.random.Generator, scene: Scene) -> list[str]:
    """Sentences that are true of a scene, as many as RSICD has.

    They count only what is seen well, name objects by expressions that name one alone, and repeat themselves only where
    there is no more to say.
    """
    place = PLACES[scene.setting]
    seen = Counter(thing.category for thing in scene.objects)
    hidden = {thing.category for thing in scene.objects if not thing.clear}
    present = [_amount(name, number) for name, number in seen.most_common() if name not in hidden]
    named = [e.text for e in scene.expressions if e.target is not None]
    water = float(scene.water.mean())
    found = [f"an aerial image of {place}."]
    if present:
        found = [f"{place} with {_listed(present)}.", f"{_listed(present[:2])} can be seen in this image of {place}."]
        found.append(f"there {'is' if present[0].split()[0] in ('a', 'an') else 'are'} {_listed(present[:3])}.")
    found += [f"one can see {named[k]}." for k in rng.permutation(len(named))[:_OBJECTS]]
    if water > 0.6 or water < 0.4:
        found.append(f"{place} that is mostly {'water' if water > 0.6 else 'land'}.")
    return [found[k % len(found)] for k in range(_SENTENCES)]


def _amount(category: str, number: int) -> str:
    if number == 1:
        return article(category)
    return f"{_NUMBERS[number] if number < len(_NUMBERS) else 'many'} {nouns(category)}"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
