"""Outlines with fewer corners that are valid polygons still: by GEOS through shapely, which comes with ``[geo]``."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from rsvl.runtime.errors import MissingComponentError
from rsvl.runtime.extras import remedy
from rsvl.runtime.results.contours import Polygon


def shapely() -> ModuleType:
    """The shapely module.

    Raises:
        MissingComponentError: it is not installed.
    """
    try:
        import shapely as module
    except ImportError as error:
        raise MissingComponentError(f"simplified outlines need shapely: {remedy('shapely')}") from error
    return module


def simplified(polygon: Polygon, tolerance: float) -> Polygon:
    """A polygon with some of its corners left out, none of which lies much farther from the outline than a tolerance.

    The rings neither cross nor vanish (Douglas and Peucker's algorithm, kept from changing the topology), so a valid
    polygon stays one with as many holes. Near the corner where a ring starts, which GEOS leaves out last, it may be
    twice the tolerance. `Polygon.area` stays that of the pixels.

    Args:
        polygon: an outline.
        tolerance: in its own units, pixels; 0 gives the polygon back.

    Raises:
        MissingComponentError: shapely is not installed.
    """
    if not tolerance:
        return polygon
    module = shapely()
    found = module.Polygon(polygon.exterior, polygon.holes).simplify(tolerance, preserve_topology=True)
    if not found.is_valid:
        return polygon
    exterior, *holes = (np.asarray(ring.coords)[:-1] for ring in (found.exterior, *found.interiors))
    return Polygon(exterior, tuple(holes), polygon.area)
