"""Where objects are, all of a class or chosen ones, drawn from their outlines."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from rsvl.data.records import OutlinedObject


def class_masks(
    objects: Sequence[OutlinedObject], classes: Sequence[str], width: int, height: int, size: int
) -> np.ndarray:
    """Draws the objects of an image as one mask per class.

    Args:
        objects: those of the image; classes not listed are ignored.
        classes: K names.
        width: of the image, pixels.
        height: of the image, pixels.
        size: side of the masks.

    Returns:
        float32 [K, size, size], the share of each cell that objects of the class cover, 0…1.
    """
    masks = np.zeros((len(classes), size, size), np.float32)
    for index, name in enumerate(classes):
        masks[index] = object_mask([thing for thing in objects if thing.category == name], width, height, size)
    return masks


def object_mask(objects: Sequence[OutlinedObject], width: int, height: int, size: int) -> np.ndarray:
    """Draws objects of an image as one mask.

    Args:
        objects: those to draw; none give an empty mask.
        width: of the image, pixels.
        height: of the image, pixels.
        size: side of the mask.

    Returns:
        float32 [size, size], the share of each cell that they cover, 0…1.
    """
    if not objects:
        return np.zeros((size, size), np.float32)
    drawn = np.zeros((height, width), np.float32)
    for thing in objects:  # one by one: fillPoly would take away where two overlap
        cv2.fillPoly(drawn, [np.round(thing.outline).astype(np.int32)], 1.0)
    return cv2.resize(drawn, (size, size), interpolation=cv2.INTER_AREA)
