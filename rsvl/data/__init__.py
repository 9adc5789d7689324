"""Datasets read from disk as they were published.

`open_dataset("rrsis-d", root, "val")` gives a `ReferringDataset`: a sequence of `ImageRecord`, one per image, each with
its `Referring` expressions; masks are decoded on request. Other tasks name what they want:
`open_dataset("rsvqa-lr", root, "val", QuestionDataset)`. `DATASETS` lists the names with the layout each expects.
"""

from rsvl.data.catalog import DATASETS, DatasetInfo, open_dataset
from rsvl.data.records import (
    CaptionDataset,
    CaptionedImage,
    ClassificationDataset,
    ImageRecord,
    LabelledImage,
    Question,
    QuestionDataset,
    QuestionRecord,
    Referring,
    ReferringDataset,
)

__all__ = [
    "DATASETS", "CaptionDataset", "CaptionedImage", "ClassificationDataset", "DatasetInfo", "ImageRecord",
    "LabelledImage", "Question", "QuestionDataset", "QuestionRecord", "Referring", "ReferringDataset", "open_dataset",
]  # fmt: skip
