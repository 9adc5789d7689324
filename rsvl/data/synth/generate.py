"""Makes one scene from one seed."""

import numpy as np

from rsvl.data.synth import language, sar
from rsvl.data.synth.catalog import COLOURS
from rsvl.data.synth.paint import Painting, paint
from rsvl.data.synth.scene import Scene, SceneObject, bounding_box
from rsvl.data.synth.settings import SETTINGS
from rsvl.data.synth.world import WATER, World
from rsvl.runtime.errors import UsageError

#: Minimum objects of a scene; layouts with fewer are drawn again.
_MIN_OBJECTS = 3
#: Objects with fewer visible pixels are as good as hidden and not labelled.
_TRACE = 4
#: A colour shows when its distance in RGB is less than this share of the next colour's.
_COLOUR_MARGIN = 0.75


def generate(
    seed: int | tuple[int, ...], size: int = 256, *, with_sar: bool = False, with_sentences: bool = True
) -> Scene:
    """Make the scene of a seed; the same seed gives the same bytes.

    Args:
        seed: any non-negative integer, or a tuple of them (a dataset uses `(seed, index)`).
        size: side of the image in pixels, 64–2048.
        with_sar: also render the scene as SAR.
        with_sentences: also describe its objects.

    Raises:
        UsageError: when size is out of range.

    Examples:
        >>> scene = generate(1, size=64)
        >>> scene.image.shape, scene.objects[0].category
        ((64, 64, 3), 'building')
    """
    if not 64 <= size <= 2048:
        raise UsageError(f"synthetic scenes are 64 to 2048 pixels wide, not {size}: choose another --size")
    rng = np.random.default_rng(seed)
    setting, world = _peopled(rng, size)
    painting = paint(world)
    objects = _labelled(painting)
    expressions = language.describe(rng, objects, size) if with_sentences else []
    radar = sar.render(np.random.default_rng((size, *np.atleast_1d(seed))), world, painting) if with_sar else None
    water = (world.place_kind & WATER) > 0
    return Scene(painting.image, tuple(objects), tuple(expressions), setting, world.gsd, water, radar)


def _peopled(rng: np.random.Generator, size: int) -> tuple[str, World]:
    """Draw settings until one has enough objects."""
    names = list(SETTINGS)
    shares = np.array([SETTINGS[name][1] for name in names])
    while True:
        setting = str(rng.choice(names, p=shares / shares.sum()))
        world = SETTINGS[setting][0](rng, size)
        if sum(item.category is not None for item in world.items) >= _MIN_OBJECTS:
            return setting, world


def _labelled(painting: Painting) -> list[SceneObject]:
    """Label the objects of which anything is seen."""
    found = []
    for item, mask, visible in zip(painting.items, painting.masks, painting.visible, strict=True):
        area = int(np.count_nonzero(mask))
        if item.category is None or area < _TRACE:
            continue
        box = bounding_box(mask)
        found.append(
            SceneObject(
                category=item.category,
                colour=item.colour,
                variant=item.variant if item.category == "vehicle" else "",
                mask=mask,
                bbox=box,
                obb=item.obb,
                area=area,
                visible=visible,
                colour_clear=item.colour is None or _shows(painting.image, mask, box, item.colour),
            )
        )
    return found


def _shows(image: np.ndarray, mask: np.ndarray, box: tuple[float, float, float, float], colour: str) -> bool:
    """Whether the median of an object's pixels is clearly nearer to its colour than to any other."""
    x, y, w, h = (int(v) for v in box)
    pixels = image[y : y + h, x : x + w][mask[y : y + h, x : x + w]]
    distance = np.linalg.norm(np.array(list(COLOURS.values())) - np.median(pixels, axis=0), axis=1)
    own = list(COLOURS).index(colour)
    return bool(distance[own] < _COLOUR_MARGIN * np.delete(distance, own).min())
