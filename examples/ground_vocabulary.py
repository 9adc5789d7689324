"""Looks for a whole vocabulary of phrases in one image, which is encoded once.

python examples/ground_vocabulary.py tiny.bundle harbour.png phrases.txt
"""

from __future__ import annotations

import argparse
from pathlib import Path

import rsvl.runtime


def main() -> None:
    """Reads the command line and prints the best phrases with their boxes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("phrases", type=Path, help="a text file with one phrase per line")
    parser.add_argument("--sensor", choices=("optical", "sar"), default="optical")
    parser.add_argument("--threshold", type=float, default=0.0, help="cosine similarity that a box must exceed")
    arguments = parser.parse_args()

    phrases = arguments.phrases.read_text(encoding="utf-8").split("\n")
    grounder = rsvl.runtime.Grounder.open(arguments.bundle)
    # `match` compares all phrases with all regions in one matrix product; `ground` refines the boxes of a few phrases.
    matched = grounder.match(
        arguments.image, [phrase for phrase in phrases if phrase], arguments.threshold, sensor=arguments.sensor
    )
    for result in sorted(matched, key=lambda result: -result.score):
        print(*result.lines())


if __name__ == "__main__":
    main()
