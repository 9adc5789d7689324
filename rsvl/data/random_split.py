"""Splits drawn at random, for datasets that were published without one.

Each class's images are put into the order of their names and shuffled by the seed; the first tenth is ``test``, the
next twentieth ``val`` and the rest ``train`` (both rounded, at least one image of each class where it has three). So
the three never overlap, and the same files and seed give the same splits everywhere. A split is asked for with its
seed, as ``train@1``; without one the seed is 0.
"""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from rsvl.data.records import LabelledImage

TEST, VAL = 0.10, 0.05
"""Shares of a class's images."""

_NAME = re.compile(r"(train|val|test)(?:@(\d{1,9}))?")


def parse(split: str) -> int | None:
    """The seed of a split that can be drawn, such as ``train`` or ``val@3``; None for any other name."""
    found = _NAME.fullmatch(split)
    return None if found is None else int(found[2] or 0)


def drawn(name: str, images: Sequence[LabelledImage], split: str, seed: int) -> list[LabelledImage]:
    """The images of one of the three splits, with a warning that says how it was drawn.

    They are in random order, so that the first so many of them are of all classes.

    Args:
        name: the dataset's.
        images: all of them.
        split: ``train``, ``val`` or ``test``.
        seed: of the shuffling, 0 or more.
    """
    warnings.warn(
        f"{name} was published without splits: train, val and test ({1 - TEST - VAL:.0%}, {VAL:.0%}, {TEST:.0%} of "
        f"each class) are drawn at random by seed {seed}; neighbouring patches of one scene may fall on both sides",
        stacklevel=2,
    )
    by_class: dict[str, list[LabelledImage]] = defaultdict(list)
    for image in sorted(images, key=lambda image: (image.label, image.path.name, image.path.as_posix())):
        by_class[image.label].append(image)
    chosen: list[LabelledImage] = []
    for number, same in enumerate(by_class.values()):
        order = np.random.default_rng((seed, number)).permutation(len(same))
        test, val = (max(1, round(share * len(same))) if len(same) >= 3 else 0 for share in (TEST, VAL))
        part = {"test": order[:test], "val": order[test : test + val], "train": order[test + val :]}[split]
        chosen += [same[index] for index in part]
    return [chosen[index] for index in np.random.default_rng(seed).permutation(len(chosen))]
