"""A layer that reads its tokens in three orders serves any batch once it is exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from rsvl.export.graphs import write_graph
from rsvl.modules.encoders.afm import MambaBranch, MambaBranchSizes
from rsvl.modules.encoders.rsmamba import RSMambaEncoder, RSMambaSizes
from rsvl.modules.layers.mamba import MambaSizes
from rsvl.runtime.manifest import GraphSpec, TensorSpec

SIZES = MambaSizes(8, 16, 2, 4)
ENCODERS = {
    "RSMamba": lambda: RSMambaEncoder(RSMambaSizes(1, SIZES), 32),
    "AFM-Net": lambda: MambaBranch(MambaBranchSizes(SIZES, layers=1, taken=(1,), patch=8), 32),
}


class Last(nn.Module):
    """An encoder's last map as the one output of a graph."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor) -> tuple[Tensor]:
        return (self.encoder(image)[-1].flatten(1),)


@pytest.mark.parametrize("name", ENCODERS)
@torch.no_grad()
def test_exported_encoder_serves_any_batch(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Last(ENCODERS[name]()).eval()
    image = torch.randn(3, 3, 32, 32)
    expected = module(image)[0].numpy()
    outputs = (TensorSpec("tokens", ("batch", expected.shape[1])),)
    spec = GraphSpec("image", (TensorSpec("image", ("batch", 3, 32, 32)),), outputs)
    write_graph(module, spec, tmp_path / "image.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "image.onnx", providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        found = session.run(None, {"image": image[:batch].numpy()})[0]
        np.testing.assert_allclose(found, expected[:batch], atol=1e-4)
