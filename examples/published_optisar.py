"""Makes a bundle of the checkpoint that OptiSAR-Net++'s authors released, and asks it.

python examples/published_optisar.py best.pt mobileclip2_b.pt optisar.bundle harbour.jpg "the ship at the left pier"
"""

from __future__ import annotations

import argparse
from pathlib import Path

import rsvl
import rsvl.runtime
from rsvl.export import export


def main() -> None:
    """Reads the command line, writes the bundle, prints how it compares with PyTorch and the boxes it finds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path, help="best.pt, as released")
    parser.add_argument("text_tower", type=Path, help="MobileCLIP2-B, from Apple or open_clip")
    parser.add_argument("bundle", type=Path, help="the folder to write")
    parser.add_argument("image", type=Path)
    parser.add_argument("sentences", nargs="+")
    parser.add_argument("--precision", choices=("fp32", "fp16"), default="fp32")
    parser.add_argument("--sensor", choices=("optical", "sar"), default="optical")
    arguments = parser.parse_args()

    # The checkpoint is a pickle of the authors' classes: only its tensors are read, and none of its code is needed.
    model = rsvl.load("optisar-net++", arguments.weights, encoder_weights=arguments.text_tower)
    exported = export(model, arguments.bundle, arguments.precision)
    for measure in exported.verification.measures:
        print(f"worst {measure}")

    # From here on PyTorch is not needed. One box per sentence, as the authors evaluate; without a limit all are given.
    grounder = rsvl.runtime.Grounder.open(arguments.bundle)
    for found in grounder.ground(arguments.image, arguments.sentences, sensor=arguments.sensor, limit=1):
        print(*found.lines())


if __name__ == "__main__":
    main()
