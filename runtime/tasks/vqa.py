"""Visual question answering about a place that an optical image, a SAR image or both show.

Two outputs agree by the answer and by the probabilities of all (`rsvl.runtime.tasks.choices`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, overload

import numpy as np

from rsvl.runtime.errors import InputError, UsageError
from rsvl.runtime.images.georeference import overlap
from rsvl.runtime.images.options import ReadOptions
from rsvl.runtime.images.reading import read_image
from rsvl.runtime.images.scene import ImageSource, Scene, open_scene
from rsvl.runtime.images.tiling import Tile
from rsvl.runtime.manifest import ModelSpec
from rsvl.runtime.progress import Progress, silent
from rsvl.runtime.results.vqa import Answer
from rsvl.runtime.tasks.agreement import Coverage, Measure, differing
from rsvl.runtime.tasks.choices import compare_choices, cover_choices, lead
from rsvl.runtime.tasks.probabilities import softmax
from rsvl.runtime.tasks.query import Query
from rsvl.runtime.tasks.runner import TILE_FORMS, Runner
from rsvl.runtime.tasks.tiles import plan_scene

ANSWER = "answer_logits"

#: Of the smaller of two images' ground at least so much must be shown by the other, too.
_SAME_PLACE = 0.5

SENSORS = "sensors"
ORDER = ("optical", "sar")
"""The order of the raw input `sensors` float32 [N, 2]: 1 where that sensor's image is there, 0 where it is missing."""


class Answerer(Runner):
    """A loaded question answerer. It keeps the last images' features, so that asking again about them is quick."""

    gives = (ANSWER,)
    options = frozenset({"tile", *TILE_FORMS})
    purpose = "answers questions"

    def ask(self, query: Query) -> list[Answer]:
        """See `Runner.ask`; one answer per question, or one for each tile where a tile is asked for."""
        questions = query.sentences
        scenes = {sensor: query.open(sensor, self.image_for(sensor)) for sensor in query.images}
        optical, sar = scenes.get("optical"), scenes.get("sar")
        if isinstance(query.tile, int):
            return self.answer_tiles(questions, optical, sar, query.tile, query.progress)
        return self.answer(questions, optical, sar)

    @overload
    def answer(self, questions: str, optical: ImageSource | None = ..., sar: ImageSource | None = ...) -> Answer: ...  # type: ignore[overload-overlap]
    @overload
    def answer(
        self, questions: Sequence[str], optical: ImageSource | None = ..., sar: ImageSource | None = ...
    ) -> list[Answer]: ...
    def answer(
        self,
        questions: str | Sequence[str],
        optical: ImageSource | None = None,
        sar: ImageSource | None = None,
    ) -> Answer | list[Answer]:
        """Answers questions from the model's vocabulary of answers.

        Where one of two images is missing, it answers from the other, and `Answer.warning` says so. Images are resized
        as a whole to the model's size.

        Args:
            questions: a question, or several; the images are encoded once for all.
            optical: the optical image: a path, an array [H, W] or [H, W, C], a Pillow image, or a scene.
            sar: the SAR image of the same place, of the same size.

        Returns:
            One answer for one question, a list for a sequence.

        Raises:
            InputError: no image at all, an unreadable one, a pair of different sizes or places, a question that is
                empty.
            UsageError: no question, or an image of a sensor that the model does not take.

        Examples:
            >>> answerer = Answerer.open("vqa.bundle")
            >>> answer = answerer.answer("the red square", optical="quarters.png")
            >>> answer.answer, f"{answer.probability:.2f}", answer.warning
            ('yes', '0.98', 'no sar image: answered from optical alone')
            >>> answerer.answer("the red square", optical="quarters.png", sar="sar.png").answer
            'bright'
        """
        asked = [questions] if isinstance(questions, str) else list(questions)
        scenes = self._opened(asked, optical, sar)
        given = {sensor: read_image(scene) for sensor, scene in scenes.items()}
        answers = self._answers(asked, given, scenes)
        return answers[0] if isinstance(questions, str) else answers

    def answer_tiles(
        self,
        questions: Sequence[str],
        optical: ImageSource | None = None,
        sar: ImageSource | None = None,
        tile: Tile = "auto",
        progress: Progress = silent,
    ) -> list[Answer]:
        """Answers questions about each tile of a scene: all tiles row by row for the first question, then the next.

        Args:
            questions: what is asked.
            optical: see `answer`.
            sar: see there.
            tile: see `rsvl.runtime.images.tiling.plan_tiles`; tiles overlap where the scene is no multiple of them.
            progress: called after every tile.

        Returns:
            Answers with their `Answer.window`; none of tiles without data.

        Raises:
            InputError: as `answer`.
            UsageError: as `answer`; or a tile out of range.

        Examples:
            >>> answerer = Answerer.open("vqa.bundle")
            >>> found = answerer.answer_tiles(["the red square"], optical="squares.png", tile=16)
            >>> len(found), found[0].window.corners
            (4, (0, 0, 16, 16))
        """
        scenes = self._opened(questions, optical, sar)
        sensor, first = next(iter(scenes.items()))
        (grid,) = plan_scene(first, self.image_for(sensor), tile, overlap=0)
        by_question: list[list[Answer]] = [[] for _ in questions]
        try:
            for done, (row, column) in enumerate(grid, start=1):
                window = grid.window(row, column)
                valid = [scene.valid(window) for scene in scenes.values()]
                if any(each is None or each.any() for each in valid):
                    given = {sensor: scene.read(window) for sensor, scene in scenes.items()}
                    for kept, answer in zip(by_question, self._answers(questions, given, scenes), strict=True):
                        kept.append(replace(answer, window=window, scene=first))
                progress(done, len(grid))
        finally:
            for scene in scenes.values():
                scene.close()
        return [answer for answers in by_question for answer in answers]

    def _opened(
        self, questions: Sequence[str], optical: ImageSource | None, sar: ImageSource | None
    ) -> dict[str, Scene]:
        """The scenes of a place by sensor, checked."""
        if not questions:
            raise UsageError("no question: say what to answer")
        pictures = zip(ORDER, (optical, sar), strict=True)
        scenes = {
            sensor: open_scene(image, self.image_for(sensor), ReadOptions(sensor=sensor))
            for sensor, image in pictures
            if image is not None
        }
        self._check(scenes)
        return scenes

    def _answers(
        self, asked: Sequence[str], given: Mapping[str, np.ndarray], scenes: Mapping[str, Scene]
    ) -> list[Answer]:
        """Each question's answer from the pixels that there are of each sensor."""
        features: dict[str, Any] = {}
        for image in self.spec.images:
            sensor = next((sensor for sensor in image.sensors if sensor in given), None)
            features |= self._features.encode_image(given[sensor] if sensor else None, image)
        if SENSORS in self.spec.raw_inputs:
            features[SENSORS] = np.array([[float(sensor in given) for sensor in ORDER]], np.float32)
        encoded = self._features.encode_sentences(asked)
        logits = [self._features.run_head({**features, **each}, ANSWER)[0][0] for each in encoded]
        return [self._answer(text, row, scenes) for text, row in zip(asked, logits, strict=True)]

    def _check(self, given: Mapping[str, Scene]) -> None:
        if not given:
            raise InputError("no image: give an optical image, a SAR image, or both of one place")
        if len(given) < len(self.spec.images) and SENSORS not in self.spec.raw_inputs:
            raise InputError(f"{self.spec.name} cannot do without one of its images: give all of them")
        sizes = {sensor: (image.width, image.height) for sensor, image in given.items()}
        if len(set(sizes.values())) > 1:
            said = ", ".join(f"{sensor} {width}x{height}" for sensor, (width, height) in sizes.items())
            raise InputError(f"a pair must show the same place at one size, not {said}: resample one of them")
        if len(given) > 1 and (share := _shared_ground(*given.values())) is not None and share < _SAME_PLACE:
            raise InputError(
                f"a pair must show the same place: the ground of these images overlaps by {share:.0%}: give the SAR "
                "image of the optical image's place"
            )

    def _answer(self, question: str, logits: np.ndarray, given: Mapping[str, Scene]) -> Answer:
        probabilities = softmax(logits)
        order = np.argsort(-probabilities, kind="stable")
        known = self.spec.answers or tuple(str(index) for index in range(len(probabilities)))
        distribution = {known[index]: float(probabilities[index]) for index in order}
        best = known[order[0]]
        sensors = tuple(sensor for sensor in ORDER if sensor in given)
        readings = tuple(reading for scene in given.values() if (reading := getattr(scene, "reading", None)))
        warning = self._warning(question, sensors)
        return Answer(question, best, distribution[best], distribution, sensors, warning, readings)

    def _warning(self, question: str, sensors: Sequence[str]) -> str:
        taken = {sensor for image in self.spec.images for sensor in image.sensors}
        missing = [sensor for sensor in ORDER if sensor in taken and sensor not in sensors]
        warnings = []
        if missing and len(self.spec.images) > 1:
            warnings.append(f"no {' or '.join(missing)} image: answered from {' and '.join(sensors)} alone")
        unknown = self._tokenizer.unknown(question) if self._tokenizer is not None else []
        if unknown:
            warnings.append(f"the model does not know the words {', '.join(unknown)}")
        return "; ".join(warnings)


def _shared_ground(first: Scene, second: Scene) -> float | None:
    """The part of the smaller of two scenes' ground that the other shows too; None where a place is not known."""
    frames = [
        None if scene.georeference is None else scene.georeference.frame(scene.height, scene.width)
        for scene in (first, second)
    ]
    return None if frames[0] is None or frames[1] is None else overlap(frames[0], frames[1])


def compare(
    spec: ModelSpec, expected: Mapping[str, np.ndarray], actual: Mapping[str, np.ndarray], precision: str
) -> tuple[Measure, ...]:
    """The share of samples with the same answer, and the largest difference of a probability."""
    return compare_choices("answers", expected[ANSWER], actual[ANSWER], precision)


def coverage(spec: ModelSpec, expected: Mapping[str, np.ndarray]) -> Coverage:
    """What `differing` says, and how many answers there were."""
    return cover_choices("answer", "answers", differing(spec, expected), expected[ANSWER])


def margin(spec: ModelSpec, expected: Mapping[str, np.ndarray]) -> np.ndarray:
    """The likeliest answer's lead over the second."""
    return lead(expected[ANSWER])
