"""Referring-segmentation data sets read from disk as they were published.

`open_dataset("rrsis-d", root, "val")` gives a `ReferringDataset`: a sequence of `ImageRecord`, one an image, each with
its `Referring` expressions; masks are decoded on request. `DATASETS` lists the names with the layout each expects.
"""

from rsvl.data.catalog import DATASETS, DatasetInfo, open_dataset
from rsvl.data.records import ImageRecord, Referring, ReferringDataset

__all__ = ["DATASETS", "DatasetInfo", "ImageRecord", "Referring", "ReferringDataset", "open_dataset"]
