"""Synthetic questions: every answer is worked out again from the masks and images by other rules, and none is common.

The oracle reads the question's words alone; it shares no code with the generator but its names of things.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from rsvl.data import Question, QuestionDataset, open_dataset
from rsvl.data.synth import CATEGORIES, Scene, SceneObject, generate, write
from rsvl.data.synth.object_questions import lies
from rsvl.data.synth.question_draft import QuestionDraft
from rsvl.data.synth.questions import PER_TYPE, TYPES, Balance
from tests.support.crisp_rules import beside, centre, colour_word, in_zone

_SEED, _SIZE, _SCENES = 21, 192, 60
_NOUN = "|".join(sorted((c.nouns[0] for c in CATEGORIES.values()), key=len, reverse=True))
_ZONES = ("top left", "top right", "bottom left", "bottom right", "middle")
_PLACE = r"(?: (?:on|at|in) the ((?:top|bottom) (?:left|right)|left|right|top|bottom|middle))?"
_NAME = rf"the (?:(largest|smallest|longest|shortest) )?({_NOUN}){_PLACE}"
_SIDE = r"(?:to the )?(left of|right of|above|below)"


@dataclass
class Place:
    """A scene and how it was taken."""

    scene: Scene
    optical: np.ndarray
    condition: str

    def of(self, noun: str) -> list[SceneObject]:
        """The objects that a noun names."""
        return [thing for thing in self.scene.objects if thing.category == noun]

    def named(self, superlative: str | None, noun: str, where: str | None) -> SceneObject:
        """The one object that a name names."""
        found = [thing for thing in self.of(noun) if where is None or in_zone(thing, where)]
        if superlative:
            assert len(found) >= 2
            measure = {"l": lambda o: o.mask.sum(), "s": lambda o: o.obb[2]}
            in_order = sorted(found, key=measure["s" if superlative in ("longest", "shortest") else "l"])
            return in_order[-1 if superlative in ("largest", "longest") else 0]
        assert len(found) == 1, (superlative, noun, where)
        return found[0]


def yes(holds: object) -> str:
    """The answer yes or no."""
    return "yes" if holds else "no"


def presence(place: Place, text: str) -> str:
    return yes(place.of(re.findall(_NOUN, text)[0]))


def count(place: Place, text: str) -> str:
    number = len(place.of(re.findall(_NOUN, text)[0]))
    return str(number) if number <= 5 else "more than 5"


def comparison(place: Place, text: str) -> str:
    one, other = re.findall(_NOUN, text)
    return yes(len(place.of(one)) > len(place.of(other)))


def relation(place: Place, text: str) -> str:
    noun, side, *name = re.fullmatch(rf"Is there an? ({_NOUN}) {_SIDE} {_NAME}\?", text).groups()
    landmark = place.named(*name)
    return yes(any(beside(thing, side, landmark) for thing in place.of(noun) if thing is not landmark))


def relative_position(place: Place, text: str) -> str:
    found = re.fullmatch(rf"Where is {_NAME} relative to {_NAME}\?", text).groups()
    dx, dy = centre(place.named(*found[:3])) - centre(place.named(*found[3:]))
    if abs(dx) > abs(dy):
        return "right" if dx > 0 else "left"
    return "below" if dy > 0 else "above"


def absolute_position(place: Place, text: str) -> str:
    thing = place.named(*re.search(_NAME + r"\?", text).groups())
    (zone,) = [zone for zone in _ZONES if in_zone(thing, zone)]
    return zone


def color(place: Place, text: str) -> str:
    thing = place.named(*re.search(_NAME + r"\?", text).groups())
    return colour_word(np.median(place.optical[thing.mask], axis=0))


def size(place: Place, text: str) -> str:
    found = re.fullmatch(rf"Is {_NAME} larger than {_NAME}\?", text).groups()
    return yes(place.named(*found[:3]).mask.sum() > place.named(*found[3:]).mask.sum())


def _ninth(array: np.ndarray, zone: str) -> np.ndarray:
    third = np.array_split(np.arange(array.shape[0]), 3)
    row = third[0] if "top" in zone else third[2] if "bottom" in zone else third[1]
    column = third[0] if "left" in zone else third[2] if "right" in zone else third[1]
    return array[row[0] : row[-1] + 1, column[0] : column[-1] + 1]


def category(place: Place, text: str) -> str:
    zone = next(zone for zone in _ZONES if zone in text)
    (noun,) = {thing.category for thing in place.scene.objects if _ninth(thing.mask, zone).any()}
    return noun


def orientation(place: Place, text: str) -> str:
    thing = place.named(*re.search(_NAME, text).groups())
    points = np.argwhere(thing.mask)[:, ::-1] - np.argwhere(thing.mask)[:, ::-1].mean(0)
    axis = np.linalg.eigh(points.T @ points)[1][:, -1]
    angle = np.degrees(np.arctan2(axis[1], axis[0])) % 180
    return ("horizontal", "diagonal", "vertical", "diagonal", "horizontal")[int((angle + 22.5) // 45)]


def density(place: Place, text: str) -> str:
    number = len(place.scene.objects)
    return "sparse" if number < 5.5 else "moderate" if number < 9.5 else "dense"


def cover_presence(place: Place, text: str) -> str:
    share = place.scene.water.mean()
    return yes((share if "water" in text else 1 - share) > 0.02)


def cover(place: Place, text: str) -> str:
    bare = ~np.any([thing.mask for thing in place.scene.objects], axis=0)
    zone = next((zone for zone in _ZONES if zone in text), None)
    water, bare = (a if zone is None else _ninth(a, zone) for a in (place.scene.water, bare))
    return "water" if water[bare].mean() > 0.5 else "land"


def rural_or_urban(place: Place, text: str) -> str:
    return "rural" if place.scene.setting == "countryside" else "urban"


def optical_quality(place: Place, text: str) -> str:
    if place.optical.mean() < 25:
        return "night"
    changed = np.abs(place.optical.astype(int) - place.scene.image).mean(2) > 60
    return "cloudy" if changed.mean() > 0.1 else "clear"


def sensor(place: Place, text: str) -> str:
    thing = place.named(*re.search(_NAME + r"(?: be seen,|\?)", text).groups())
    around = cv2.dilate(thing.mask.view(np.uint8), np.ones((9, 9))) > 0
    likeness = np.corrcoef(place.optical[around].mean(1), place.scene.image[around].mean(1))[0, 1]
    return "SAR" if place.optical.mean() < 25 or likeness < 0.7 else "both"


ORACLE: dict[str, Callable[[Place, str], str]] = {
    name: globals()[name.replace(" ", "_")] for name in TYPES
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vqa") / "set"
    write(folder, _SCENES, _SEED, _SIZE, val=0, test=0, task="vqa")
    return folder


@pytest.fixture(scope="module")
def dataset(root: Path) -> QuestionDataset:
    return open_dataset("osvqa", root, "train", QuestionDataset)


@pytest.fixture(scope="module")
def asked(dataset: QuestionDataset) -> list[tuple[Place, Question]]:
    """Every question with its place, generated again."""
    found = []
    for record in dataset:
        scene = generate((_SEED, int(record.optical.stem)), _SIZE)
        place = Place(scene, cv2.imread(str(record.optical))[..., ::-1], record.condition)
        found += [(place, question) for question in record.questions]
    return found


@pytest.mark.parametrize("kind", list(TYPES))
def test_answers_are_what_masks_and_images_say(asked: list[tuple[Place, Question]], kind: str) -> None:
    checked = [(q, ORACLE[kind](place, q.text)) for place, q in asked if q.type == kind]
    wrong = [(q.text, q.answer, answer) for q, answer in checked if q.answer != answer]
    # JPEG may turn the colour of a thing of a few pixels.
    assert len(checked) >= 8 and len(wrong) <= (0.03 * len(checked) if kind in ("color", "sensor") else 0), wrong


def test_there_are_sixteen_types_of_balanced_answers(dataset: QuestionDataset) -> None:
    assert len(TYPES) == 16 and set(dataset.types) == set(TYPES)
    for kind, (_, limit) in TYPES.items():
        answers = Counter(q.answer for q in dataset.questions if q.type == kind)
        assert len(answers) >= 2
        assert answers.most_common(1)[0][1] <= limit * answers.total() + 2, (kind, answers)
    assert TYPES["count"][1] <= 0.35 and max(limit for _, limit in TYPES.values()) == 0.5


def test_words_alone_do_not_tell_whether_a_thing_is_there(dataset: QuestionDataset) -> None:
    for noun in (category.nouns[0] for category in CATEGORIES.values()):
        told = Counter(
            q.answer for q in dataset.questions if q.type == "presence" and re.search(rf"\b{noun}\b", q.text)
        )
        assert abs(told["yes"] - told["no"]) <= 3, noun


def test_conditions_are_mixed_and_radar_is_never_spoilt(dataset: QuestionDataset) -> None:
    conditions = Counter(record.condition for record in dataset)
    assert set(conditions) == {"clear", "cloudy", "night"} and min(conditions.values()) >= 0.1 * len(dataset)
    for record in dataset[:12]:
        twin = generate((_SEED, int(record.sar.stem)), _SIZE, with_sar=True).sar
        assert np.abs(cv2.imread(str(record.sar), cv2.IMREAD_GRAYSCALE).astype(int) - twin).mean() < 6


def test_cloud_hides_much_and_leaves_much(asked: list[tuple[Place, Question]]) -> None:
    for place in {id(place): place for place, _ in asked if place.condition == "cloudy"}.values():
        difference = np.abs(place.optical.astype(int) - place.scene.image).mean(2)
        assert (difference > 30).mean() > 0.15 and (difference < 30).mean() > 0.15


@pytest.mark.parametrize(("sensor", "absent"), [("optical", "sar"), ("sar", "optical")])
def test_one_sensor_asks_only_what_it_can_show(tmp_path: Path, sensor: str, absent: str) -> None:
    write(tmp_path / "set", 12, 3, 64, val=0, test=0, task="vqa", sensor=sensor)
    found = open_dataset("osvqa", tmp_path / "set", "train", QuestionDataset)
    assert all(getattr(record, absent) is None and getattr(record, sensor).is_file() for record in found)
    cannot = {"sensor"} | ({"color", "optical quality"} if sensor == "sar" else set())
    assert not cannot & set(found.types) and len(found.types) >= 8


def test_number_of_workers_does_not_change_the_files(tmp_path: Path) -> None:
    digests = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        write(folder, 6, 1, 64, val=2, test=1, workers=workers, task="vqa")
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        digests.append([(str(p.relative_to(folder)), hashlib.sha256(p.read_bytes()).hexdigest()) for p in files])
    assert digests[0] == digests[1] and len(digests[0]) == 12 + 9


@pytest.mark.parametrize(
    ("angle", "word"),
    [(0, "horizontal"), (14, "horizontal"), (22, None), (45, "diagonal"), (76, "vertical"), (90, "vertical"),
     (135, "diagonal"), (157, None), (179, "horizontal"), (270, "vertical"), (359, "horizontal")],
)  # fmt: skip
def test_lies_are_told_apart_with_room_between(angle: float, word: str | None) -> None:
    assert lies(angle) == word


def test_balance_refuses_what_is_common_already() -> None:
    balance = Balance()
    lopsided = [QuestionDraft("presence", f"Is there a ship number {n}?", "yes", "ship") for n in range(9)]
    assert len([q for _ in range(9) for q in balance.choose(lopsided)]) == 2
    reversed_answer = [QuestionDraft("presence", "Is there a ship?", "no", "ship"), *lopsided]
    assert [q.answer for q in balance.choose(reversed_answer)] == ["no"]


def test_a_scene_is_not_asked_the_same_twice() -> None:
    options = [
        QuestionDraft("relation", text, answer, "ship") for text, answer in (("a?", "yes"), ("b?", "no"), ("a?", "yes"))
    ]
    chosen = Balance().choose(
        [*options, QuestionDraft("relation", "c?", "yes", "pier"), QuestionDraft("relation", "d?", "no", "bridge")]
    )
    assert len(chosen) == PER_TYPE and len({q.subject for q in chosen}) == PER_TYPE
