"""Writes scenes for referring segmentation, in RRSIS-D's own layout.

    rrsisd/refs(unc).p            pickle of a list of plain dicts, one a referred object
    rrsisd/instances.json         COCO: images, annotations (segmentation: a list of one RLE), categories
    images/rrsisd/JPEGImages/     images
    images/rrsisd/SARImages/      their SAR twins, with the sensor "both"

Two things go beyond RRSIS-D: annotations carry `obb` (centre x, centre y, length, width, degrees), and a sentence that
without a target is a ref with `no_target: True` and `ann_id: -1` (gRefCOCO's convention).
"""

import json
import pickle
from pathlib import Path

from rsvl.data.synth.generate import generate
from rsvl.data.synth.labels import Job, Labels, write_jpeg
from rsvl.data.synth.records import Records, SceneRecord, record

_IMAGES, _SAR, _NOTES = Path("images/rrsisd/JPEGImages"), Path("images/rrsisd/SARImages"), Path("rrsisd")


class SegmentationLabels(Labels):
    """Masks and the sentences that name them."""

    sensors = ("optical", "both")
    unit = "expressions"

    def __init__(self, seed: int, size: int, sensor: str) -> None:
        """See `Labels`."""
        super().__init__(seed, size, sensor)
        self._records = Records(seed, size)

    @property
    def folders(self) -> tuple[Path, ...]:
        """See `Labels.folders`."""
        return (_IMAGES, _NOTES, _SAR) if self.sensor == "both" else (_IMAGES, _NOTES)

    @staticmethod
    def make(job: Job) -> SceneRecord:
        """See `Labels.make`."""
        scene = generate((job.seed, job.index), job.size, with_sar=job.sar)
        name = f"{job.index:06d}.jpg"
        job.write_optical(job.folder / _IMAGES / name, scene.image)
        if scene.sar is not None:
            write_jpeg(job.folder / _SAR / name, scene.sar)
        return record(scene, name)

    def add(self, made: SceneRecord, split: str) -> None:
        """See `Labels.add`."""
        self._records.add(made, split)
        self.counts, self.objects = self._records.sentences, len(self._records.annotations)

    def finish(self, folder: Path) -> None:
        """See `Labels.finish`."""
        (folder / _NOTES / "refs(unc).p").write_bytes(pickle.dumps(self._records.refs, protocol=4))
        (folder / _NOTES / "instances.json").write_text(json.dumps(self._records.instances()))
