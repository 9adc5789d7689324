"""Synthetic scenes: the same bytes from the same seed, and labels that agree with the image."""

import cv2
import numpy as np
import pytest

from rsvl.data.synth import CATEGORIES, COLOURS, Scene, generate
from rsvl.data.synth.scene import MIN_PIXELS, MIN_VISIBLE
from rsvl.runtime.errors import UsageError

_SIZE = 256


@pytest.mark.parametrize("seed", [0, 7, (3, 14)])
def test_same_seed_gives_same_scene(seed: int | tuple[int, int]) -> None:
    one, two = generate(seed, 128, with_sar=True), generate(seed, 128, with_sar=True)
    np.testing.assert_array_equal(one.image, two.image)
    np.testing.assert_array_equal(one.sar, two.sar)
    assert one.expressions == two.expressions
    assert [o.obb for o in one.objects] == [o.obb for o in two.objects]
    for a, b in zip(one.objects, two.objects, strict=True):
        np.testing.assert_array_equal(a.mask, b.mask)


def test_other_seed_gives_other_scene() -> None:
    assert not np.array_equal(generate(0, 128).image, generate(1, 128).image)


def test_sar_leaves_the_optical_scene_unchanged() -> None:
    plain, both = generate((1, 2), 128), generate((1, 2), 128, with_sar=True)
    np.testing.assert_array_equal(plain.image, both.image)
    assert plain.expressions == both.expressions and plain.sar is None


@pytest.mark.parametrize("size", [63, 2049])
def test_unreasonable_size_is_refused(size: int) -> None:
    with pytest.raises(UsageError, match="64 to 2048"):
        generate(0, size)


def test_boxes_fit_the_masks(scenes: list[Scene]) -> None:
    for scene in scenes:
        for thing in scene.objects:
            ys, xs = np.nonzero(thing.mask)
            assert thing.bbox == (xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1)
            assert thing.area == len(xs)


def test_oriented_boxes_hold_the_masks(scenes: list[Scene]) -> None:
    for scene in scenes:
        for thing in scene.objects:
            cx, cy, length, width, degrees = thing.obb
            ys, xs = np.nonzero(thing.mask)
            turn = np.radians(degrees)
            along = (xs - cx) * np.cos(turn) + (ys - cy) * np.sin(turn)
            across = (ys - cy) * np.cos(turn) - (xs - cx) * np.sin(turn)
            assert np.abs(along).max() <= length * 0.53 + 2, thing.category
            assert np.abs(across).max() <= max(width, 0.72 * length * (thing.category == "baseball field")) * 0.56 + 2


def test_masks_never_overlap(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert np.sum([thing.mask for thing in scene.objects], axis=0).max() <= 1


def test_hidden_pixels_are_not_in_the_mask(scenes: list[Scene]) -> None:
    """Vehicles on a bridge are cut out of it: the bridge is visible in part, the vehicles as a whole."""
    checked = 0
    for scene in scenes:
        for bridge in (o for o in scene.objects if o.category == "bridge"):
            box = cv2.boxPoints((bridge.obb[:2], bridge.obb[2:4], bridge.obb[4]))
            deck = cv2.fillPoly(np.zeros((_SIZE, _SIZE), np.uint8), [np.round(box).astype(np.int32)], 1)
            for vehicle in (o for o in scene.objects if o.category == "vehicle"):
                if (vehicle.mask & (deck > 0)).sum() > 0.9 * vehicle.area:
                    checked += 1
                    assert bridge.visible < 1
    assert checked >= 3


def test_lengths_span_thirtyfold(scenes: list[Scene]) -> None:
    longest = generate((5, 31))  # a pier across the image; such are rarer than one scene in a hundred
    lengths = np.array([o.obb[2] for scene in [*scenes, longest] for o in scene.objects if o.clear])
    assert lengths.max() / lengths.min() >= 30
    assert np.percentile(lengths, 95) / np.percentile(lengths, 5) >= 8


def test_every_category_appears_at_every_angle(scenes: list[Scene]) -> None:
    seen = {thing.category for scene in scenes for thing in scene.objects}
    assert seen == set(CATEGORIES)
    angles = [thing.obb[4] for scene in scenes for thing in scene.objects]
    assert (np.histogram(angles, 12, (0, 360))[0] > len(angles) / 40).all()


def test_clear_colours_are_what_the_pixels_show(scenes: list[Scene]) -> None:
    names, reference = list(COLOURS), np.array(list(COLOURS.values()))
    for scene in scenes:
        for thing in scene.objects:
            if thing.colour and thing.colour_clear:
                median = np.median(scene.image[thing.mask], axis=0)
                nearest = names[int(((reference - median) ** 2).sum(1).argmin())]
                assert nearest == thing.colour
    told = [t.colour_clear for s in scenes for t in s.objects if t.colour]
    assert np.mean(told) > 0.8


def test_targets_are_seen_well_enough(scenes: list[Scene]) -> None:
    for scene in scenes:
        for expression in scene.expressions:
            if expression.target is not None:
                thing = scene.objects[expression.target]
                assert thing.mask.sum() >= MIN_PIXELS and thing.visible >= MIN_VISIBLE


def test_scenes_are_peopled_and_spoken_of(scenes: list[Scene]) -> None:
    objects = [len(scene.objects) for scene in scenes]
    sentences = [len(scene.expressions) for scene in scenes]
    assert min(objects) >= 2 and 5 <= np.mean(objects) <= 9
    assert 6 <= np.mean(sentences) <= 9
