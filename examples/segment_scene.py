"""Finds what sentences name in a scene of any size and writes masks, outlines and an overlay.

python examples/segment_scene.py tiny.bundle scene.tif "the white building" "the red vehicle"
"""

from __future__ import annotations

import argparse
from pathlib import Path

import rsvl.runtime
from rsvl.runtime.results.saving import save


def main() -> None:
    """Reads the command line, segments, writes the files into the current folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("scene", type=Path, help="a GeoTIFF of any size, or another image")
    parser.add_argument("sentences", nargs="+")
    arguments = parser.parse_args()

    # Large scenes are read tile by tile; the image graph runs once per tile, whatever the number of sentences.
    segmenter = rsvl.runtime.Segmenter.open(arguments.bundle)
    found = segmenter.segment(arguments.scene, arguments.sentences)
    for result in found:
        print(*result.lines())

    stem = arguments.scene.stem
    save(found, f"{stem}-overlay.png")
    if found[0].crs is not None:  # a place on Earth, for outlines in WGS 84; "{stem}-outlines.json" would be in pixels
        save(found, f"{stem}-outlines.geojson")
        save(found, f"{stem}-masks.tif")


if __name__ == "__main__":
    main()
