"""Writes scenes for classification: a folder per split, in it one per class, which is the scene's setting."""

from itertools import product
from pathlib import Path

from rsvl.data.synth.generate import generate
from rsvl.data.synth.labels import SPLITS, Job, Labels, write_jpeg
from rsvl.data.synth.settings import SETTINGS


class ClassLabels(Labels):
    """The setting of each scene."""

    sensors = ("optical", "sar")
    unit = "scene labels"

    @property
    def folders(self) -> tuple[Path, ...]:
        """See `Labels.folders`."""
        return tuple(Path(split, folder_name(setting)) for split, setting in product(SPLITS, SETTINGS))

    @staticmethod
    def make(job: Job) -> int:
        """See `Labels.make`. Returns the number of objects."""
        scene = generate((job.seed, job.index), job.size, with_sar=job.sar, with_sentences=False)
        path = job.folder / job.split / folder_name(scene.setting) / f"{job.index:06d}.jpg"
        if scene.sar is None:
            job.write_optical(path, scene.image)
        else:
            write_jpeg(path, scene.sar)
        return len(scene.objects)

    def add(self, made: int, split: str) -> None:
        """See `Labels.add`."""
        self.objects += made
        self.counts[split] += 1

    def finish(self, folder: Path) -> None:
        """See `Labels.finish`: there are no tables; splits without scenes go."""
        for split, setting in product(SPLITS, SETTINGS):
            if not self.counts[split]:
                (folder / split / folder_name(setting)).rmdir()
        for split in SPLITS:
            if not self.counts[split]:
                (folder / split).rmdir()


def folder_name(setting: str) -> str:
    """A setting's class folder."""
    return setting.replace(" ", "_")
