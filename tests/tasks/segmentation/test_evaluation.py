"""Evaluation over a dataset, and with the sentences exchanged between objects."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from rsvl.data import ImageRecord, Referring, ReferringDataset
from rsvl.runtime.errors import DatasetError
from rsvl.runtime.manifest import SEGMENTATION, ImageSpec, ModelSpec
from rsvl.tasks.contract import EvalOptions
from rsvl.tasks.segmentation.evaluation import evaluate, runner_predictor

SIZE = 32
PLAIN = ImageSpec(SIZE, (0.5,) * 3, (0.25,) * 3)


class _Scenes(ReferringDataset):
    """Scenes whose objects are named by the numbers of their pixels' rows."""

    categories = ("row",)

    def __init__(self, folder: Path, objects: Sequence[int]) -> None:
        self.name, self.split = "rows", "val"
        self._records = []
        for scene, count in enumerate(objects):
            path = folder / f"{scene}.png"
            Image.new("RGB", (SIZE, SIZE), (scene, 0, 0)).save(path)
            referrings = [
                Referring(row, (f"row {row}", f"line {row}"), "row", object_id=row, segmentation=row)
                for row in range(count)
            ]
            nothing = Referring(99, ("row nowhere",), no_target=True)
            self._records.append(ImageRecord(path, SIZE, SIZE, (*referrings, nothing)))

    def _decode(self, record: ImageRecord, referring: Referring) -> np.ndarray:
        return _row(referring.segmentation)


def _row(row: int) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[row] = True
    return mask


class _Listener:
    """Answers each sentence rightly, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, list[str]]] = []

    def __call__(self, record: ImageRecord, sentences: Sequence[str]) -> list[np.ndarray]:
        self.asked.append((int(record.path.stem), list(sentences)))
        return _right(sentences)


class _Segmenter:
    """A loaded bundle that answers rightly, and remembers what it was asked and shown."""

    def __init__(self, image: ImageSpec = PLAIN) -> None:
        self.spec = ModelSpec("rows", SEGMENTATION, "none", (image,), None, ())
        self.asked: list[list[str]] = []
        self.shown: list[np.ndarray] = []

    def segment(self, image: np.ndarray, texts: list[str], *, tile: str) -> list[SimpleNamespace]:
        assert tile == "whole"
        self.asked.append(texts)
        self.shown.append(image)
        return [SimpleNamespace(mask=mask) for mask in _right(texts)]


def _right(sentences: Sequence[str]) -> list[np.ndarray]:
    words = [sentence.split()[1] for sentence in sentences]
    return [_row(int(word)) if word.isdigit() else np.zeros((SIZE, SIZE), dtype=bool) for word in words]


def test_right_answers_score_one_and_every_sentence_is_asked_once(tmp_path: Path) -> None:
    listener, seen = _Listener(), []
    options = EvalOptions(progress=lambda done, total: seen.append((done, total)))
    report = evaluate(listener, _Scenes(tmp_path, [3, 1, 2]), options)
    assert (report.miou, report.oiou, report.n_acc, report.t_acc) == (1.0, 1.0, 1.0, 1.0)
    assert (report.overall.count, report.no_target_count, report.skipped_images) == (12, 3, 0)
    assert [scene for scene, _ in listener.asked] == [0, 1, 2]
    assert listener.asked[1][1] == ["row 0", "line 0", "row nowhere"]
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_limit_takes_the_first_images(tmp_path: Path) -> None:
    listener = _Listener()
    assert evaluate(listener, _Scenes(tmp_path, [2, 2, 2]), EvalOptions(limit=2)).overall.count == 8
    assert [scene for scene, _ in listener.asked] == [0, 1]


@pytest.mark.parametrize("seed", range(5))
def test_exchanged_sentences_never_stay_with_their_object(tmp_path: Path, seed: int) -> None:
    listener = _Listener()
    report = evaluate(listener, _Scenes(tmp_path, [4, 1, 2, 7]), EvalOptions(shuffle_sentences=True, seed=seed))
    # The rows do not overlap: one right answer would show.
    assert report.miou == 0.0
    assert (report.overall.count, report.skipped_images, report.no_target_count) == (26, 1, 0)
    assert sorted(listener.asked[0][1]) == sorted(f"{word} {row}" for row in range(4) for word in ("row", "line"))


def test_exchange_depends_on_the_seed_alone(tmp_path: Path) -> None:
    def asked(seed: int) -> list[tuple[int, list[str]]]:
        listener = _Listener()
        evaluate(listener, _Scenes(tmp_path, [6, 6]), EvalOptions(shuffle_sentences=True, seed=seed))
        return listener.asked

    assert asked(1) == asked(1)
    assert asked(1) != asked(2)


def test_exchange_does_not_change_a_model_that_does_not_listen(tmp_path: Path) -> None:
    def deaf(record: ImageRecord, sentences: Sequence[str]) -> list[np.ndarray]:
        return [np.ones((SIZE, SIZE), dtype=bool)] * len(sentences)

    scenes = _Scenes(tmp_path, [3, 4])
    assert evaluate(deaf, scenes, EvalOptions(shuffle_sentences=True)).miou == evaluate(deaf, scenes).miou > 0


def test_image_of_another_size_is_refused(tmp_path: Path) -> None:
    scenes = _Scenes(tmp_path, [1])
    Image.new("RGB", (SIZE, SIZE + 2)).save(tmp_path / "0.png")
    with pytest.raises(DatasetError, match=r"0\.png has 32x34 pixels, its annotation says 32x32"):
        evaluate(runner_predictor(_Segmenter()), scenes)


def test_model_with_too_few_masks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the model gave 0 masks for 3 sentences"):
        evaluate(lambda record, sentences: [], _Scenes(tmp_path, [1]))


def test_loaded_bundle_is_asked_all_sentences_of_an_image_at_once(tmp_path: Path) -> None:
    segmenter = _Segmenter()
    assert evaluate(runner_predictor(segmenter), _Scenes(tmp_path, [2, 1])).miou == 1.0
    assert [len(texts) for texts in segmenter.asked] == [5, 3]
