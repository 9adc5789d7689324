"""Makes a bundle of the checkpoint that RMSIN's authors released, and asks it.

python examples/published_rmsin.py model_best_RMSIN.pth rmsin.bundle harbour.jpg "the ship at the left pier"
"""

from __future__ import annotations

import argparse
from pathlib import Path

import rsvl
import rsvl.runtime
from rsvl.export import export
from rsvl.runtime.results.saving import save


def main() -> None:
    """Reads the command line, writes the bundle, prints how it compares with PyTorch and what it finds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path, help="model_best_RMSIN.pth, as released")
    parser.add_argument("bundle", type=Path, help="the folder to write")
    parser.add_argument("image", type=Path)
    parser.add_argument("sentences", nargs="+")
    parser.add_argument("--precision", choices=("fp32", "fp16"), default="fp32")
    arguments = parser.parse_args()

    # The file holds optimizer and options beside the network: they are not read, and what is left out is named.
    model = rsvl.load("rmsin", arguments.weights)
    exported = export(model, arguments.bundle, arguments.precision)
    for measure in exported.verification.measures:
        print(f"worst {measure}")

    # From here on PyTorch is not needed. Each sentence gets an overlay of its mask beside the bundle.
    segmenter = rsvl.runtime.Segmenter.open(arguments.bundle)
    for number, found in enumerate(segmenter.segment(arguments.image, arguments.sentences), start=1):
        save([found], arguments.bundle.with_name(f"{arguments.bundle.stem}-{number}.png"))
        print(*found.lines())


if __name__ == "__main__":
    main()
