"""A query about one place, in the same form for every task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from rsvl.runtime.errors import UsageError
from rsvl.runtime.images.options import ReadOptions
from rsvl.runtime.images.scene import ImageSource, Scene, open_scene
from rsvl.runtime.images.tiling import Tile
from rsvl.runtime.manifest import ImageSpec
from rsvl.runtime.progress import Progress, silent
from rsvl.runtime.results.objects import ObjectFilter


@dataclass(frozen=True)
class Query:
    """One question, or several, about one place.

    Attributes:
        images: the place's images by sensor, ``optical`` and ``sar``; one of them, or both. For a bundle of a task that
            rsvl does not know, a ``.npz`` file of raw inputs under ``optical``.
        texts: sentences, questions or labels; none for a task that takes no text.
        threshold: probability above which a pixel or box counts, 0…1; None takes the model's own.
        tile: see `rsvl.runtime.images.tiling.plan_tiles`.
        overlap: see there.
        scales: at which a scene is looked at (`rsvl.runtime.images.tiling.plan_scales`).
        batch: how many tiles the model is given at once; None takes `Runner.usual_batch`.
        progress: called after every tile.
        reading: how the images are to be read, by sensor, where the usual guesses do not fit.
        limit: the most boxes or objects of a sentence, the best ones, or the most classes that a result shows; None for
            all boxes and objects and the usual number of classes.
        keep: which of the masks' objects are given; None drops those that the model cannot tell.
    """

    images: Mapping[str, ImageSource]
    texts: Sequence[str] = ()
    threshold: float | None = None
    tile: Tile = "auto"
    progress: Progress = field(default=silent, repr=False)
    reading: Mapping[str, ReadOptions] = field(default_factory=dict)
    limit: int | None = None
    keep: ObjectFilter | None = None
    overlap: float = 0.25
    batch: int | None = None
    scales: Sequence[float] = (1.0,)

    @property
    def sentences(self) -> list[str]:
        """The texts.

        Raises:
            UsageError: there are none.
        """
        if not self.texts:
            raise UsageError("nothing is asked: say what to find, answer or tell apart with --text")
        return list(self.texts)

    @property
    def only_image(self) -> tuple[str, ImageSource]:
        """The sensor and the image of a model that takes one at a time.

        Raises:
            UsageError: there are several, or none.
        """
        if len(self.images) != 1:
            raise UsageError("this model takes one image at a time: give an image or --sar, not a pair")
        return next(iter(self.images.items()))

    def open(self, sensor: str, spec: ImageSpec) -> Scene:
        """Opens the image of a sensor as a model's image input takes it.

        Raises:
            InputError: see `rsvl.runtime.images.scene.open_scene`.
        """
        options = self.reading.get(sensor, ReadOptions())
        return open_scene(self.images[sensor], spec, replace(options, sensor=sensor))
