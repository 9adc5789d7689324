"""The toy segmenter as fixtures: itself, its samples, its bundles."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rsvl.export import Exported, export
from tests.support.toy_segmenter import ToySegmenter, raw_samples


@pytest.fixture
def toy() -> ToySegmenter:
    """A toy with seeded weights; its masks cover part of every image."""
    torch.manual_seed(0)
    return ToySegmenter().eval()


@pytest.fixture
def samples() -> dict[str, np.ndarray]:
    """Eight raw inputs for the toy."""
    return raw_samples()


@pytest.fixture(scope="session", params=["fp32", "fp16"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The toy's bundle in each precision, packed too, with `norm` and the head's angles kept in float32."""
    torch.manual_seed(0)
    model = ToySegmenter()
    model.keep_fp32 = {"norm": "to test it", "route": "angles"}
    output = tmp_path_factory.mktemp(request.param) / "toy"
    return export(model, output, request.param, samples=raw_samples(), pack=True, metrics={"mIoU": 0.5})
