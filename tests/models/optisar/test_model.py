"""OptiSAR-Net++: its declaration against what it computes, its sensors, its loss, its graphs in ONNX."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

from rsvl.benchmarks.count import count
from rsvl.export.graphs import write_graph
from rsvl.export.precision import in_precision
from rsvl.models.optisar.boxes import box_iou
from rsvl.models.optisar.model import TINY, WEIGHTS, OptiSARNet, PLMoE, Preset, ablations
from tests.support.declared_shapes import check_shapes
from tests.support.tensorrt_graphs import check_that_tensorrt_builds

SMALL = replace(
    TINY,
    image_size=64,
    stem=(8, 12, 16, 16, 16),
    depths=(0, 0, 1, 1, 0),
    width=16,
    rank=2,
    embed_dim=20,
    tokens=9,
    text=(32, 1, 2),
    vocabulary=100,
    fusion=16,
    fusion_layers=1,
    phrases=2,
    strips=2,
    candidates=12,
    hidden=16,
)
START, END = 98, 99
BOXES = torch.tensor([[0.1, 0.2, 0.4, 0.5], [0.55, 0.6, 0.7, 0.7], [0.3, 0.1, 0.9, 0.8], [0.0, 0.0, 0.0, 0.0]])
INDEX, PRESENT = torch.tensor([0, 0, 1, 1]), torch.tensor([True, True, True, False])


def build(preset: Preset = SMALL) -> OptiSARNet:
    """The model with random weights in every place, those that start from zero too; evaluation mode."""
    torch.manual_seed(0)
    model = OptiSARNet("test", preset).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model


def images(count: int = 2) -> Tensor:
    """Noise, in colour."""
    return torch.randn(count, 3, SMALL.image_size, SMALL.image_size, generator=torch.Generator().manual_seed(1))


def sentences(*words: list[int]) -> Tensor:
    """Token ids [N, 9] of sentences given by their words' ids."""
    rows = [[START, *ids, END] for ids in words]
    return torch.tensor([row + [0] * (SMALL.tokens - len(row)) for row in rows])


TOKENS = sentences([5, 6], [7], [8, 9, 10], [11, 12])


@pytest.fixture(scope="module")
def model() -> OptiSARNet:
    """The tiny preset's architecture, smaller still."""
    return build()


PRESETS = {"tiny": TINY, "small": SMALL, **ablations(SMALL)}


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS.keys())
def test_every_graph_gives_the_shapes_that_its_declaration_names(preset: Preset) -> None:
    with torch.device("meta"), torch.no_grad():
        check_shapes(OptiSARNet("test", preset).eval())


def test_ablations_have_equal_parameters_and_products_but_for_the_routers() -> None:
    counts = {name: count(lambda p=p: OptiSARNet("test", p)).total for name, p in ablations(SMALL).items()}
    model = OptiSARNet("test", SMALL)
    routers = sum(p.numel() for name, p in model.named_parameters() if ".router." in name)
    routed, shared, sensor = counts.values()
    assert routed.parameters - routers == shared.parameters == sensor.parameters
    assert shared.macs.total == sensor.macs.total < routed.macs.total
    assert shared.macs.idle == 0 < sensor.macs.idle == routed.macs.idle


def test_regions_and_sentences_have_unit_length_and_boxes_lie_in_the_image(model: OptiSARNet) -> None:
    with torch.no_grad():
        regions, boxes, _ = model.encode_image(images())
        sentence, _ = model.encode_text(TOKENS)
    for embeddings in (regions, sentence):
        torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(embeddings.shape[:-1]))
    assert boxes.min() >= 0 and boxes.max() <= 1 and (boxes[..., 2:] >= boxes[..., :2]).all()


def test_candidates_come_best_first_with_boxes_in_the_image(model: OptiSARNet) -> None:
    with torch.no_grad():
        scores, found = model(images(), TOKENS, INDEX)
    assert scores.shape == (4, SMALL.candidates) and found.shape == (4, SMALL.candidates, 4)
    assert (scores.diff(dim=1) <= 0).all()
    assert found.min() >= 0 and found.max() <= 1


def test_image_index_is_the_same_as_repeating_the_images(model: OptiSARNet) -> None:
    with torch.no_grad():
        one, other = model(images(), TOKENS, INDEX), model(images()[INDEX], TOKENS)
    for found, expected in zip(one, other, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_graphs_in_sequence_are_the_forward_pass(model: OptiSARNet) -> None:
    known = {"image": images(), "tokens": TOKENS[:2]}
    with torch.no_grad():
        for graph in model.spec.graphs:
            outputs = model.graph(graph.name)(*(known[t.name] for t in graph.inputs))
            known |= {t.name: output for t, output in zip(graph.outputs, outputs, strict=True)}
        scores, found = model(known["image"], known["tokens"])
    torch.testing.assert_close(known["scores"], scores)
    torch.testing.assert_close(known["found_boxes"], found)


def test_every_word_matters_and_what_follows_the_end_token_does_not(model: OptiSARNet) -> None:
    tokens = sentences([5, 6, 7])
    padded = tokens.clone()
    padded[:, 5:] = torch.tensor([11, 12, 13, 14])
    with torch.no_grad():
        plain = model(images(1), tokens)
        torch.testing.assert_close(plain, model(images(1), padded))
        for place in (1, 2, 3):
            changed = tokens.clone()
            changed[0, place] = 50
            assert (model(images(1), changed)[0] - plain[0]).abs().max() > 1e-4, place


def test_fused_logits_reach_the_regions_that_lie_in_their_cell(model: OptiSARNet) -> None:
    side = SMALL.fusion_side
    cell = 3 * side + 5  # row 3, column 5 of 8
    context, phrases = torch.zeros(1, side**2, SMALL.fusion), torch.zeros(1, SMALL.phrases, SMALL.fusion)
    tgdf = build().tgdf
    tgdf.layers = torch.nn.ModuleList()
    changed = context.clone()
    changed[0, cell] = torch.arange(SMALL.fusion)
    with torch.no_grad():
        difference = tgdf(changed, phrases)[1] - tgdf(context, phrases)[1]
    reached = difference[0].abs() > 1e-6
    x, y = model.decode.centres.T
    strides = model.decode.strides.flatten()
    # The cell's own finer cells, and the coarser cells that it lies in.
    reach = strides.clamp(min=1 / side) / 2
    expected = ((x - 5.5 / side).abs() < reach) & ((y - 3.5 / side).abs() < reach)
    assert torch.equal(reached, expected)
    assert model.cell_of_region[reached & (strides <= 1 / side)].unique().tolist() == [cell]


def test_experts_of_a_sensor_are_chosen_by_colour_or_as_told() -> None:
    model = build(ablations(SMALL)["one expert per sensor"])
    colour, grey = images(1), images(1)[:, :1]
    mean, std = (torch.tensor(getattr(model.spec.image, name))[:, None, None] for name in ("mean", "std"))
    grey = (0.5 + 0.1 * grey - mean) / std
    assert model._gate(torch.cat([colour, grey]), None).squeeze().tolist() == [[1, 0], [0, 1]]
    assert model._gate(torch.cat([colour, grey]), torch.tensor([True, False])).squeeze().tolist() == [[0, 1], [1, 0]]
    assert model.spec.image.sensors == ("optical", "sar")


def test_chosen_regions_lie_in_their_boxes_and_absent_targets_choose_none(model: OptiSARNet) -> None:
    with torch.no_grad():
        seen = model._encode(images(), None)
        match = model.match(seen.regions, model.encode_text(TOKENS)[0], INDEX)
        goal = model._assign(seen, match, INDEX, BOXES, PRESENT)
    assert goal.chosen.any(dim=1).tolist() == PRESENT.tolist()
    for sentence, region in goal.chosen.nonzero().tolist():
        (x, y), (x1, y1, x2, y2) = model.decode.centres[region].tolist(), BOXES[sentence].tolist()
        assert x1 <= x <= x2 and y1 <= y <= y2
    overlap = box_iou(seen.boxes[INDEX], BOXES[:, None])
    assert goal.quality.amax(1)[:3].tolist() == pytest.approx((overlap * goal.chosen).amax(1)[:3].tolist(), rel=1e-4)
    assert not (goal.chosen & goal.false).any()


def test_loss_is_the_weighted_sum_of_its_terms() -> None:
    model = build().train()
    terms = model.losses(images(), TOKENS, INDEX, BOXES, PRESENT)
    assert set(terms) == set(WEIGHTS)
    expected = sum(WEIGHTS[name] * term.item() for name, term in terms.items())
    assert build().train()(images(), TOKENS, INDEX, BOXES, PRESENT).item() == pytest.approx(expected, rel=1e-4)


def test_all_sentences_present_is_the_default() -> None:
    told, default = (build().train()(images(), TOKENS[:3], INDEX[:3], BOXES[:3], p) for p in (PRESENT[:3], None))
    assert told.item() == default.item()


@pytest.mark.parametrize("routing", ablations(SMALL))
def test_gradients_reach_every_parameter(routing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsvl.models.optisar.model.ASSIGNED", SMALL.regions)  # so that every level learns boxes
    model = build(ablations(SMALL)[routing]).train()
    model(images(), TOKENS, INDEX, BOXES, PRESENT, torch.tensor([False, True])).backward()
    unused = {"text_encoder.text_model.embeddings.token_embedding.weight"}  # only the rows of the words said
    without = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.any() or not torch.isfinite(parameter.grad).all()
    ]
    assert set(without) <= unused


def test_training_on_four_sentences_finds_their_boxes() -> None:
    torch.manual_seed(0)
    model = OptiSARNet("test", SMALL).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    pictures, first = images(), None
    for _ in range(60):
        loss = model(pictures, TOKENS, INDEX, BOXES, PRESENT)
        first = first or loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < first / 4
    with torch.no_grad():
        scores, found = model(pictures, TOKENS, INDEX)  # batch norm as in training: two images tell little
    assert (box_iou(found[:3, 0], BOXES[:3]) > 0.6).all()
    assert scores[3, 0] < scores[:3, 0].min()


@pytest.fixture(scope="module", params=["fp32", "fp16"])
def exported(request: pytest.FixtureRequest, model: OptiSARNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the small model's graphs in each precision, named after it."""
    folder = tmp_path_factory.mktemp("graphs") / request.param
    folder.mkdir()
    for graph in model.spec.graphs:
        module = in_precision(model.graph(graph.name), model, request.param, model.keep_fp32)
        write_graph(module, graph, folder / f"{graph.name}.onnx")
    return folder


def test_exported_graphs_agree_with_pytorch(model: OptiSARNet, exported: Path) -> None:
    tolerance = {"fp32": 1e-4, "fp16": 3e-2}[exported.name]
    tensors = {"image": images(3), "tokens": TOKENS[:3]}
    for graph in model.spec.graphs:
        with torch.no_grad():
            outputs = model.graph(graph.name)(*(tensors[t.name] for t in graph.inputs))
        tensors |= {t.name: output for t, output in zip(graph.outputs, outputs, strict=True)}
        session = onnxruntime.InferenceSession(exported / f"{graph.name}.onnx", providers=["CPUExecutionProvider"])
        for batch in (1, 3):
            feeds = {t.name: tensors[t.name][:batch].numpy() for t in graph.inputs}
            for tensor, found in zip(graph.outputs, session.run(None, feeds), strict=True):
                right = tensors[tensor.name][:batch].numpy()
                if tensor.name == "found_boxes":  # of candidates with nearly equal scores, either may come first
                    scores = tensors["scores"][:batch].numpy()
                    ahead = scores[:, 0] - scores[:, 1] > 2 * tolerance
                    assert ahead[0]
                    found, right = found[ahead, 0], right[ahead, 0]
                assert np.abs(found - right).max() <= tolerance * max(1, np.abs(right).max()), tensor.name


def test_tensorrt_builds_the_exported_graphs(model: OptiSARNet, exported: Path) -> None:
    check_that_tensorrt_builds(exported, model.spec.graphs)


def test_exported_image_graph_has_two_nodes_a_block_and_nothing_of_the_auxiliary_head(
    model: OptiSARNet, exported: Path
) -> None:
    graph = onnx.load(exported / "image.onnx").graph
    blocks = sum(isinstance(module, PLMoE) for module in model.modules())
    assert [node.op_type for node in graph.node if node.domain == "rsvl"] == ["LoRAMoE"] * 2 * blocks
    shapes = [tuple(tensor.dims) for tensor in graph.initializer]
    assert shapes.count((SMALL.embed_dim, SMALL.width, 1, 1)) == len(SMALL.sides)  # the regions', not the auxiliary's
    assert not [tensor.name for tensor in graph.initializer if "auxiliary" in tensor.name]
