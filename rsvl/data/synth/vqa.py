"""Writes scenes for visual question answering, in OSVQA's form of RSVQA's tables (`rsvl.data.rsvqa`).

Each scene is an optical and a SAR image of one place; cloud or night spoils a share of the optical ones. Beside what
the form asks for, an image says the ``condition`` of its optical image and outlines its ``objects``, under clouds
too: each has a ``category`` and as ``outline`` the four corners (x, y) of the oriented box around it. A question lists
as ``objects`` the places in that list of those that one must look at to answer it.
"""

import json
from pathlib import Path
from typing import Any

import cv2

from rsvl.data.synth.generate import generate
from rsvl.data.synth.labels import SPLITS, Job, Labels, write_jpeg
from rsvl.data.synth.question_draft import QuestionDraft, View
from rsvl.data.synth.questions import Balance, askable
from rsvl.data.synth.scene import SceneObject
from rsvl.data.synth.weather import CONDITIONS, spoil

_OPTICAL, _SAR = Path("Optical"), Path("SAR")
_WEATHER, _QUESTIONS = 3, 4  # random streams

Made = tuple[dict[str, Any], int, list[QuestionDraft]]


class VQALabels(Labels):
    """Questions and answers."""

    sensors = ("both", "optical", "sar")
    unit = "questions"

    def __init__(self, seed: int, size: int, sensor: str) -> None:
        """See `Labels`."""
        super().__init__(seed, size, sensor)
        self._balances = {split: Balance() for split in SPLITS}
        self._tables: dict[str, dict[str, list[dict[str, Any]]]] = {
            split: {"images": [], "questions": [], "answers": []} for split in SPLITS
        }

    @property
    def folders(self) -> tuple[Path, ...]:
        """See `Labels.folders`."""
        return {"both": (_OPTICAL, _SAR), "optical": (_OPTICAL,), "sar": (_SAR,)}[self.sensor]

    @staticmethod
    def make(job: Job) -> Made:
        """See `Labels.make`. Returns the image's entry, the number of objects and all that may be asked."""
        scene = generate((job.seed, job.index), job.size, with_sar=job.sar, with_sentences=False)
        rng = job.rng(_WEATHER)
        condition = str(rng.choice(list(CONDITIONS), p=list(CONDITIONS.values())))
        pixels, hidden = spoil(rng, scene.image, condition)
        image: dict[str, Any] = {"id": job.index, "optical": None, "sar": None, "condition": condition}
        image["objects"] = [_outlined(thing) for thing in scene.objects]
        if job.optical:
            image["optical"] = (_OPTICAL / f"{job.index:06d}.jpg").as_posix()
            job.write_optical(job.folder / image["optical"], pixels)
        if scene.sar is not None:
            image["sar"] = (_SAR / f"{job.index:06d}.jpg").as_posix()
            write_jpeg(job.folder / image["sar"], scene.sar)
        view = View(job.rng(_QUESTIONS), scene, condition, hidden, job.optical, job.sar)
        return image, len(scene.objects), askable(view)

    def add(self, made: Made, split: str) -> None:
        """See `Labels.add`."""
        image, objects, options = made
        tables, ids = self._tables[split], []
        for asked in self._balances[split].choose(options):
            key = self.counts.total()
            ids.append(key)
            self.counts[split] += 1
            question = {"id": key, "img_id": image["id"], "type": asked.type, "question": asked.text}
            question["objects"] = list(asked.objects)
            tables["questions"].append({**question, "answers_ids": [key], "active": True})
            tables["answers"].append({"id": key, "question_id": key, "answer": asked.answer, "active": True})
        tables["images"].append({**image, "questions_ids": ids, "active": True})
        self.objects += objects

    def finish(self, folder: Path) -> None:
        """See `Labels.finish`."""
        for split, tables in self._tables.items():
            for table, entries in tables.items():
                if tables["images"]:
                    (folder / f"OSVQA_split_{split}_{table}.json").write_text(json.dumps({table: entries}))


def _outlined(thing: SceneObject) -> dict[str, Any]:
    x, y, length, width, angle = thing.obb
    corners = cv2.boxPoints(((x, y), (length, width), angle))
    return {"category": thing.category, "outline": [[round(float(v), 1) for v in corner] for corner in corners]}
