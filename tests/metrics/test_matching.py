"""Zero-shot accuracy and retrieval recall against hand-counted ranks and against sorting."""

import json

import numpy as np
import pytest

from rsvl.metrics import ZeroShotMetrics, retrieval, retrieval_ranks

CLASSES = ("farm", "port", "river", "road", "forest", "airport", "beach")


def test_zero_shot_is_that_of_sorting() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(300, 7)), rng.integers(0, 7, 300)
    metrics, half = ZeroShotMetrics(CLASSES), ZeroShotMetrics(CLASSES)
    for i, (row, label) in enumerate(zip(scores, labels, strict=True)):
        (metrics if i % 2 else half).update(row, CLASSES[label])
    metrics.merge(half)
    report = metrics.compute()
    for k, found in ((1, report.top1), (5, report.top5)):
        best = np.argsort(-scores, axis=1)[:, :k]
        assert found == pytest.approx(
            np.mean([label in row for label, row in zip(labels, best, strict=True)]), abs=1e-12
        )
    by_class = [np.mean(scores[labels == c].argmax(1) == c) for c in range(7)]
    assert report.mean_class == pytest.approx(np.mean(by_class), abs=1e-12)
    assert list(report.by_class) == sorted(CLASSES) and report.by_class["port"][0] == np.sum(labels == 1)


def test_equal_scores_are_no_help() -> None:
    metrics = ZeroShotMetrics(CLASSES)
    metrics.update(np.zeros(7), "farm")
    metrics.update(np.array([1, 1, 1, 1, 1, 0, 0]), "farm")
    assert (metrics.compute().top1, metrics.compute().top5) == (0, 0.5)


def test_classes_without_images_are_left_out() -> None:
    metrics = ZeroShotMetrics(CLASSES)
    metrics.update(np.arange(7), "beach")
    assert metrics.compute().mean_class == 1 and set(metrics.compute().by_class) == {"beach"}
    assert json.loads(json.dumps(ZeroShotMetrics(CLASSES).compute().to_dict(), allow_nan=False))["top-1"] is None


@pytest.mark.parametrize(("scores", "label"), [([0.0] * 6, "farm"), ([0.0] * 7, "moon"), ([np.nan] * 7, "farm")])
def test_scores_that_do_not_fit_are_refused(scores: list[float], label: str) -> None:
    with pytest.raises(ValueError, match="classes"):
        ZeroShotMetrics(CLASSES).update(np.array(scores), label)


def test_recalls_are_those_counted_by_hand() -> None:
    # Images 0 and 1 with two texts each, image 2 with one.
    owner = np.array([0, 0, 1, 1, 2])
    similarity = np.array([
        [0.1, 0.9, 0.3, 0.2, 0.0],  # best text is its own
        [0.8, 0.7, 0.1, 0.6, 0.0],  # best own text is third
        [0.5, 0.4, 0.3, 0.2, 0.1],  # its own text is fifth
    ])  # fmt: skip
    report = retrieval(*retrieval_ranks(similarity, owner))
    assert report.image_to_text == {1: 1 / 3, 5: 1, 10: 1}
    assert report.text_to_image == {1: 3 / 5, 5: 1, 10: 1}
    assert report.mean_recall == pytest.approx((1 / 3 + 1 + 1 + 3 / 5 + 1 + 1) / 6, abs=1e-15)
    assert report.to_dict()["image to text R@1"] == 1 / 3 and report.to_dict()["mR"] == report.mean_recall


def test_recalls_are_those_of_sorting() -> None:
    rng = np.random.default_rng(2)
    owner = rng.permutation(np.repeat(np.arange(30), 5))
    similarity = rng.normal(size=(30, 150)) + 1.5 * (owner[None] == np.arange(30)[:, None])
    report = retrieval(*retrieval_ranks(similarity, owner))
    for k in (1, 5, 10):
        texts, images = np.argsort(-similarity, 1)[:, :k], np.argsort(-similarity, 0)[:k]
        assert report.image_to_text[k] == np.mean([np.isin(owner[texts[i]], i).any() for i in range(30)])
        assert report.text_to_image[k] == np.mean([owner[j] in images[:, j] for j in range(150)])


def test_a_constant_similarity_finds_nothing() -> None:
    report = retrieval(*retrieval_ranks(np.ones((12, 12)), np.arange(12)))
    assert report.mean_recall == 0


@pytest.mark.parametrize(
    ("shape", "owner", "message"),
    [((2, 3), [0, 1], "does not fit"), ((2, 2), [0, 0], "every image needs a text"), ((2, 2), [0, 5], "every image")],
)
def test_similarity_that_does_not_fit_is_refused(shape: tuple[int, int], owner: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        retrieval_ranks(np.zeros(shape), np.array(owner))
