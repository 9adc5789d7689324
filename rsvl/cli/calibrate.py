"""`rsvl calibrate`: fits how likely what a sentence names is there, and writes it into a bundle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rsvl.cli import options
from rsvl.cli.console import print_json, print_line, print_table, progress
from rsvl.runtime.errors import DatasetError, UsageError

_LEAST = 20
"""Sentences of each kind, whose thing is there or is not, from which on a fit means something."""


def calibrate(
    bundle: options.Bundle,
    data: options.Data,
    root: options.Root,
    split: options.EvaluatedSplit = "val",
    limit: options.Limit = None,
    provider: options.Provider = None,
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Fit the probability that what a sentence names is there, on labelled images, and write it into the bundle.

    The split must have sentences that name nothing in their image, as those of rsvl synth have.
    """
    from rsvl.metrics.presence import cross_fitted, fit_presence, reliability
    from rsvl.runtime import Segmenter, load
    from rsvl.runtime.atomic import write_text
    from rsvl.runtime.bundle import MANIFEST
    from rsvl.runtime.manifest import SCHEMA_VERSION
    from rsvl.tasks import open_split
    from rsvl.tasks.segmentation.presence import presence_samples

    with progress(f"calibrating {bundle}") as report:
        runner = load(bundle, provider, threads)
        if not isinstance(runner, Segmenter):
            raise UsageError(f"{bundle}: only masks are calibrated, and this model {runner.purpose}")
        if runner.bundle.packed:
            raise UsageError(f"{bundle}: a packed bundle is not changed: calibrate its folder, then rsvl export --pack")
        dataset: Any = open_split(runner.spec.task, data, root, split)
        samples = list(presence_samples(runner, dataset, limit, report))
    present = [sample.present for sample in samples]
    if min(sum(present), len(present) - sum(present)) < _LEAST:
        raise DatasetError(
            f"{root}: {sum(present)} sentences of {split} name something and {len(present) - sum(present)} nothing: at "
            f"least {_LEAST} of each are needed"
        )
    import numpy as np

    there = np.array(present)
    raw = np.array([0.0 if sample.strongest is None else sample.strongest[0] for sample in samples])
    probability = cross_fitted(samples)
    (before, _), (after, curve) = reliability(raw, there), reliability(probability, there)
    about = {
        "data": data,
        "split": split,
        "sentences": len(samples),
        "absent": int((~there).sum()),
        "calibration_error": after,
        "calibration_error_of_scores": before,
        "false_alarms": float((raw[~there] > 0).mean()),
        "false_alarms_at_half": float((probability[~there] >= 0.5).mean()),
        "missed": float((raw[there] == 0).mean()),
        "missed_at_half": float((probability[there] < 0.5).mean()),
    }
    fitted = replace(fit_presence(samples), about=about)
    manifest = replace(runner.manifest, presence=fitted, schema=SCHEMA_VERSION)
    write_text(runner.bundle.root / MANIFEST, manifest.to_json())
    if json:
        print_json({"bundle": str(bundle), **about, "weights": fitted.weights, "curve": curve._asdict()})
        return
    rows = zip(curve.probability, curve.share, curve.sentences, strict=True)
    print_table(["presence", "share there", "sentences"], [[f"{p:.2f}", f"{s:.2f}", str(n)] for p, s, n in rows])
    print_line(
        f"{about['sentences']} sentences of {split}, {about['absent']} of which name nothing, each judged by a fit to "
        "the others' images"
    )
    print_line(f"calibration error {after:.3f} (of the mask's score {before:.3f})")
    print_line(f"false alarms {about['false_alarms']:.3f} → {about['false_alarms_at_half']:.3f} at --presence 0.5")
    print_line(f"missed {about['missed']:.3f} → {about['missed_at_half']:.3f}")
