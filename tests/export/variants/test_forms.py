"""The variants of a bundle: small files over the weights of the standard graphs, verified one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

from rsvl.export import Exported, export
from rsvl.export.variants import FORMS
from rsvl.modules.bases.exportable import ExportableModel
from rsvl.runtime.errors import VerificationError
from rsvl.runtime.manifest import GraphSpec, ModelSpec, TensorSpec

WIDTH, HEADS, POSITIONS = 32, 4, 10
SHAPE = ("batch", POSITIONS, WIDTH)


class Attending(ExportableModel):
    """One attention layer over itself."""

    graphs = (GraphSpec("attend", (TensorSpec("x", SHAPE),), (TensorSpec("y", SHAPE),)),)
    spec = ModelSpec("attending", "attending", "none", (), None, graphs)

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def attend(self, x: Tensor) -> tuple[Tensor]:
        heads = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1))
        attended = torch.nn.functional.scaled_dot_product_attention(*heads)
        return (self.out(attended.transpose(1, 2).flatten(2)),)


@pytest.fixture(scope="module")
def attending(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    torch.manual_seed(0)
    return export(Attending(), tmp_path_factory.mktemp("b") / "attending.bundle", samples=samples())


def samples() -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).standard_normal((8, POSITIONS, WIDTH)).astype(np.float32)}


def test_weights_lie_in_the_bundle_once(attending: Exported) -> None:
    (graph,) = attending.manifest.model.graphs
    assert [variant.backend for variant in graph.variants] == ["onnxruntime"]
    locations = []
    for file in (graph.file, graph.file_for("onnxruntime")):
        model = onnx.load(attending.path / file, load_external_data=False)
        beside = {w.name: [e.value for e in w.external_data] for w in model.graph.initializer if w.external_data}
        locations.append(beside)
        assert len(beside) == 3 and all(entry[0] == "attend.onnx.data" for entry in beside.values())
    assert locations[0] == locations[1]
    sizes = {name: (attending.path / name).stat().st_size for name in attending.manifest.files}
    assert sizes["attend.onnx.data"] >= 4 * 4 * WIDTH * WIDTH


def test_each_form_was_verified(attending: Exported) -> None:
    (measure,) = attending.manifest.verification["measures"]
    ((fused,),) = attending.manifest.verification["variants"].values()
    assert 0 <= measure["value"] < 1e-5 and 0 <= fused["value"] < 1e-5 and fused["limit"] == measure["limit"]


def test_variant_that_disagrees_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(model: ir.Model) -> bool:
        (softmax,) = (node for node in model.graph if node.op_type == "Softmax")
        softmax.attributes["axis"] = ir.AttrInt64("axis", 2)
        return True

    monkeypatch.setitem(FORMS, "onnxruntime", wrong)
    torch.manual_seed(0)
    with pytest.raises(VerificationError, match=r"^in the form for onnxruntime, the exported graphs disagree"):
        export(Attending(), tmp_path / "b", samples=samples())
    assert list(tmp_path.iterdir()) == []


class Growing(ExportableModel):
    """A depthwise convolution that makes two channels of each one, and a softplus."""

    graphs = (GraphSpec("grow", (TensorSpec("x", ("batch", 4, 9, 9)),), (TensorSpec("y", ("batch", 8, 7, 7)),)),)
    spec = ModelSpec("growing", "growing", "none", (), None, graphs)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 8, 3, groups=4)

    def grow(self, x: Tensor) -> tuple[Tensor]:
        return (nn.functional.softplus(self.conv(x)),)


@pytest.mark.parametrize(
    ("precision", "variants"), [("fp32", [("onnxruntime", {"Gather", "Conv", "Softplus"})]), ("fp16", [])]
)
def test_only_onnxruntimes_form_of_float32_repeats_channels_and_has_its_own_softplus(
    precision: str, variants: list[tuple[str, set[str]]], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    x = np.random.default_rng(0).standard_normal((8, 4, 9, 9)).astype(np.float32)
    exported = export(Growing(), tmp_path / "b", precision, samples={"x": x})
    (graph,) = exported.manifest.model.graphs
    standard = {(node.domain, node.op_type) for node in onnx.load(exported.path / graph.file).graph.node}
    assert ("", "Softplus") in standard and ("", "Gather") not in standard
    found = [(v.backend, {n.op_type for n in onnx.load(exported.path / v.file).graph.node}) for v in graph.variants]
    assert found == variants
