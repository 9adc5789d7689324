"""The released OptiSAR-Net++: its parts against formulas in float64, its published names, its sizes, its graphs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from rsvl.checkpoints import load_weights
from rsvl.export.graphs import write_graph
from rsvl.export.precision import in_precision
from rsvl.models.optisar.boxes import box_iou
from rsvl.models.optisar.fusion import DualGateAttention, SpatialShuffleAttention
from rsvl.models.optisar.moe import ExpertBlock, PatchExperts, patch_side
from rsvl.models.optisar.released import FULL, SCALE_N, OptiSARNetPlusPlus, Preset, drawn_guides
from rsvl.runtime.errors import CheckpointError
from tests.support.declared_shapes import check_shapes
from tests.support.released_optisar import SMALL, in_published_names, random_weights, randomised


@pytest.fixture(scope="module")
def model() -> OptiSARNetPlusPlus:
    """The network at a small scale, with the same weights whatever ran before."""
    torch.manual_seed(0)
    network = randomised(OptiSARNetPlusPlus("test", SMALL))
    assert isinstance(network, OptiSARNetPlusPlus)
    return network


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


# Worked out by hand from the rule: the divisor nearest to n // 20, which is held to 2 … 32, smaller ones first.
@pytest.mark.parametrize(
    ("cells", "side"), [(20, 2), (8, 2), (9, 1), (40, 2), (60, 3), (80, 4), (21, 1), (100, 5), (1, 1)]
)
def test_patch_side_divides_the_map(cells: int, side: int) -> None:
    assert patch_side(cells) == side


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def norm(x: np.ndarray, state: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Batch norm of [C, H, W] by running statistics, eps 1e-3."""
    mean, var, weight, bias = (
        state[f"{name}.{k}"][:, None, None] for k in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / np.sqrt(var + 1e-3) * weight + bias


def convolved(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """[C, H, W] with a 3×3 kernel [O, C, 3, 3], zeros around."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    height, width = x.shape[1:]
    return sum(
        np.einsum("oc,chw->ohw", kernel[:, :, i, j], padded[:, i : i + height, j : j + width])
        for i in range(3)
        for j in range(3)
    )


def test_each_patch_is_convolved_alone_and_mixed_by_its_two_best_experts() -> None:
    layer = randomised(PatchExperts(16, experts=5, rank=3, top_k=2))
    x = noise(1, 16, 8, 12)
    state = {key: value.double().numpy() for key, value in layer.state_dict().items()}
    expected = np.zeros((16, 8, 12))
    for row in range(0, 8, 2):
        for column in range(0, 12, 2):
            patch = x[0, :, row : row + 2, column : column + 2].double().numpy()
            expected[:, row : row + 2, column : column + 2] = mixed_patch(patch, state)
    found = layer(x)[0].detach().double().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def mixed_patch(patch: np.ndarray, state: dict[str, np.ndarray]) -> np.ndarray:
    place = state["gate.cosine_projector.weight"] @ patch.mean(axis=(1, 2)) + state["gate.cosine_projector.bias"]
    directions = state["gate.sim_matrix"] / np.linalg.norm(state["gate.sim_matrix"], axis=0)
    logits = place / np.linalg.norm(place) @ directions * np.exp(min(float(state["gate.temperature"][0]), np.log(100)))
    best = np.argsort(-logits)[:2]
    gates = softmax(logits[best])
    scale = state["experts.lora_scale"][0]

    def low_rank(name: str, x: np.ndarray) -> np.ndarray:
        mixing = sum(
            gate * state[f"experts.{name}_up"][e] @ state[f"experts.{name}_down"][e]
            for gate, e in zip(gates, best, strict=True)
        )
        return x + scale * np.einsum("oc,chw->ohw", mixing, x)

    hidden = norm(convolved(patch, state["experts.shared_conv1.0.weight"]), state, "experts.shared_conv1.1")
    hidden = low_rank("lora1", hidden * sigmoid(hidden))
    return low_rank(
        "lora2", norm(convolved(hidden, state["experts.shared_conv2.0.weight"]), state, "experts.shared_conv2.1")
    )


def test_the_attention_acts_on_what_the_experts_see_only() -> None:
    block = randomised(ExpertBlock(8, experts=3, rank=2, top_k=2))
    assert isinstance(block, ExpertBlock)
    x = noise(2, 8, 4, 4)
    with torch.no_grad():
        block.layer_scale_moe.zero_()
        assert torch.equal(block(x), x)


def test_balance_is_the_number_chosen_where_all_experts_are_used_alike() -> None:
    layer = PatchExperts(8, experts=4, rank=2, top_k=2)
    with torch.no_grad():
        layer.gate.temperature.fill_(-30.0)  # all logits alike, so the noise chooses
        layer.w_noise.fill_(0.0)
    layer.train()(noise(64, 8, 8, 8))
    assert layer.take_balance().item() == pytest.approx(2, abs=0.01)


def test_shuffle_attention_gates_the_halves_of_each_group_crosswise() -> None:
    layer = randomised(SpatialShuffleAttention(128))
    x = noise(1, 128, 3, 5)
    state = {key: value.double().numpy().ravel() for key, value in layer.state_dict().items()}
    gated = np.zeros((128, 3, 5))
    for group in range(32):
        old = x[0, 4 * group : 4 * group + 4].double().numpy()
        new = old[[0, 2, 1, 3]]  # new channel 2i + j is old channel 2j + i
        mean, most = new[:2].mean(axis=(1, 2)), new[2:].max(axis=(1, 2))
        by_most, by_mean = (
            state["weight_max"] * most + state["bias_max"],
            state["weight_avg"] * mean + state["bias_avg"],
        )
        gated[4 * group : 4 * group + 4] = new * sigmoid(np.concatenate([by_most, by_mean]))[:, None, None]
    expected = np.stack([gated[j * 64 + i] for i in range(64) for j in range(2)])
    np.testing.assert_allclose(layer(x)[0].detach().numpy(), expected, rtol=1e-5, atol=1e-5)


def test_the_best_prompt_at_each_cell_gates_each_heads_channels() -> None:
    layer = randomised(DualGateAttention(256, 24))
    assert isinstance(layer, DualGateAttention)
    x, prompts = noise(1, 256, 3, 3), torch.nn.functional.normalize(noise(1, 2, 24), dim=-1)
    embeddings, values = layer.cells(x)
    assert embeddings is x
    guide = layer.gl(prompts)[0].detach().double().numpy().reshape(2, 4, 64)
    cells, own = x[0].double().numpy().reshape(4, 64, 9), values[0].detach().double().numpy().reshape(4, 64, 9)
    state = {key: value.double().numpy().ravel() for key, value in layer.state_dict().items()}
    likeness = np.einsum("khw,hwn->khn", guide, cells).max(axis=0)
    gate = sigmoid(likeness / state["temperature"][0] + state["bias"][:, None])
    strength = (state["weight_gate"] * state["feature_gate"])[:, None]
    expected = own * (1 + strength * (gate - 1))[:, None]
    found = layer(embeddings, values, prompts)[0].detach().numpy().reshape(4, 64, 9)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_full_network_has_the_published_parameters() -> None:
    # 33,685,672 at rank 256, less the visual prompts (5,562,336) and the constant bins (16); 6,144 for each rank.
    with torch.device("meta"):
        network = OptiSARNetPlusPlus("test", replace(FULL, scale=replace(FULL.scale, rank=256)))
    text = sum(p.numel() for p in network.text_encoder.parameters())
    assert text == 63_428_096
    assert sum(p.numel() for p in network.parameters()) - text == 33_685_672 - 5_562_336 - 16


PUBLISHED = {
    "model.0.conv.weight": "trunk.layers.0.conv.weight",
    "model.10.m.0.attn.qkv.bn.bias": "trunk.layers.10.m.0.attn.qkv.bn.bias",
    "model.8.m.0.moe.experts.lora1_A": "trunk.layers.8.m.0.moe.experts.lora1_up",
    "model.13.m.0.cv3.conv.weight": "neck.merge.m.0.cv3.conv.weight",
    "model.16.attn.ec.conv.weight": "neck.fuse8.attn.ec.conv.weight",
    "model.19.ssa.weight_max": "neck.fuse16.ssa.weight_max",
    "model.20.bn.weight": "neck.down32.bn.weight",
    "model.23.cv2.1.2.bias": "heads.1.box.2.bias",
    "model.23.cv3.0.0.1.conv.weight": "heads.0.embed.0.1.conv.weight",
    "model.23.cv4.2.logit_scale": "heads.2.contrast.logit_scale",
    "model.23.cv_region.0.grid_head.2.weight": "heads.0.grid.grid_head.2.weight",
    "model.23.reprta.m.w12.weight": "adapter.w12.weight",
}


def test_published_names_lead_to_ours(model: OptiSARNetPlusPlus) -> None:
    state = {
        key: torch.zeros(1) for key in (*PUBLISHED, "model.23.savpe.cv1.0.conv.weight", "model.23.dfl.conv.weight")
    }
    found = model.published(state)
    assert found is not None and set(found) == set(PUBLISHED.values())
    with torch.device("meta"):
        full = OptiSARNetPlusPlus("test", FULL)
    assert set(PUBLISHED.values()) <= set(full.state_dict())
    assert model.published({"visual.conv1.weight": torch.zeros(1)}) is None


def test_a_published_checkpoint_gives_its_rank_and_needs_the_text_tower(tmp_path: Path) -> None:
    model = OptiSARNetPlusPlus("test", SMALL)
    expected, _ = random_weights(rank=5)
    torch.save({"epoch": -1, "ema": None, "model": in_published_names(expected)}, tmp_path / "best.pt")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match="lacks the text_encoder of test: give it with --encoder-weights"):
        load_weights(model, tmp_path / "best.pt")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    load_weights(model, tmp_path / "best.pt", without_encoders=True)
    assert model.preset.scale.rank == 5
    assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items() if key in expected)


@pytest.mark.parametrize("preset", [SMALL, FULL, SCALE_N], ids=["small", "full", "n"])
def test_graphs_give_the_declared_shapes(preset: Preset) -> None:
    with torch.device("meta"):
        check_shapes(OptiSARNetPlusPlus("test", preset).eval())


TOKENS = torch.tensor([[98, 5, 6, 99, 0, 0, 0, 0, 0], [98, 7, 99, 0, 0, 0, 0, 0, 0]])


def test_sentences_do_not_know_of_each_other(model: OptiSARNetPlusPlus) -> None:
    image = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        together = model(image, TOKENS, torch.tensor([0, 0]))
        alone = [model(image, TOKENS[i : i + 1]) for i in range(2)]
    for i in range(2):
        assert torch.allclose(together[0][i], alone[i][0][0], atol=1e-4)
    assert not torch.allclose(together[0][0], together[0][1], atol=1e-2)


def test_loss_reaches_every_parameter_and_falls_where_the_box_is_right() -> None:
    torch.manual_seed(0)
    model = OptiSARNetPlusPlus("test", SMALL).train()
    images, boxes = torch.rand(2, 3, 96, 96), torch.tensor([[0.1, 0.1, 0.5, 0.6], [0.3, 0.2, 0.9, 0.8]])
    model(images, TOKENS, torch.arange(2), boxes, torch.tensor([True, False])).backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    assert not any(p.requires_grad for p in model.text_encoder.parameters())


def test_some_sentences_of_each_image_guide_the_neck_and_all_do_at_times() -> None:
    image_index, seen = torch.tensor([0, 1, 0, 0, 2, 2, 0]), set()
    for seed in range(40):
        torch.manual_seed(seed)
        guides = drawn_guides(image_index, 2)
        assert torch.bincount(image_index[guides]).tolist() == [2, 1, 2]
        seen |= set(guides.tolist())
    assert seen == set(range(7))


def test_every_sentence_of_an_image_learns_though_few_guide_the_neck() -> None:
    torch.manual_seed(0)
    model = OptiSARNetPlusPlus("test", replace(SMALL, own_text=True)).train()
    boxes = torch.tensor([[0.1, 0.1, 0.5, 0.6], [0.3, 0.2, 0.9, 0.8], [0.0, 0.5, 0.4, 0.9]])
    tokens = torch.tensor([[98, word, 99, 0, 0, 0, 0, 0, 0] for word in (11, 22, 33)])
    model(torch.rand(1, 3, 96, 96), tokens, torch.zeros(3, dtype=torch.long), boxes).backward()
    (words,) = (p.grad for name, p in model.named_parameters() if name.endswith("token_embedding.weight"))
    assert words is not None
    assert words[[11, 22, 33]].abs().amax(dim=1).min() > 0 == words[44].abs().max()


def test_onnx_agrees_with_pytorch_at_any_number_of_images(model: OptiSARNetPlusPlus, tmp_path: Path) -> None:
    images = torch.rand(3, 3, 96, 96, generator=torch.Generator().manual_seed(4))
    tokens = TOKENS[[0, 1, 0]]
    features: dict[str, np.ndarray] = {"image": images.numpy(), "tokens": tokens.numpy()}
    for spec in model.spec.graphs:
        write_graph(model.graph(spec.name).eval(), spec, tmp_path / f"{spec.name}.onnx")
        session = onnxruntime.InferenceSession(tmp_path / f"{spec.name}.onnx")
        outputs = session.run(None, {t.name: features[t.name] for t in spec.inputs})
        features |= dict(zip([o.name for o in session.get_outputs()], outputs, strict=True))
    with torch.no_grad():
        scores, boxes = model(images, tokens)
    np.testing.assert_allclose(features["scores"], scores.numpy(), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(features["found_boxes"][:, 0], boxes[:, 0].numpy(), atol=1e-3)


def test_a_sentence_of_several_objects_learns_all_their_boxes() -> None:
    torch.manual_seed(0)
    model = OptiSARNetPlusPlus("test", SMALL).train()
    boxes = torch.tensor([[[0.1, 0.1, 0.4, 0.4], [0.6, 0.5, 0.9, 0.9], [0.0, 0.0, 0.0, 0.0]]])
    tokens, image, index = TOKENS[:1], torch.rand(1, 3, 96, 96), torch.zeros(1, dtype=torch.long)
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        model(image, tokens, index, boxes, torch.tensor([[True, True, False]])).backward()
        optimizer.step()
    with torch.no_grad():
        scores, found = model(image, tokens)
    for box in boxes[0, :2]:
        overlap = box_iou(found[0], box)
        assert overlap[scores[0] > 0].max() > 0.7


def test_graphs_run_in_half_precision(model: OptiSARNetPlusPlus) -> None:
    image = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(4))
    features = {"image": image, "tokens": TOKENS}
    with torch.no_grad():
        for spec in model.spec.graphs:
            half = in_precision(model.graph(spec.name).eval(), model, "fp16", model.keep_fp32)
            outputs = half(*(features[each.name] for each in spec.inputs))
            features |= dict(zip((each.name for each in spec.outputs), outputs, strict=True))
        scores, _ = model(image, TOKENS)
    np.testing.assert_allclose(features["scores"][:, 0].numpy(), scores[:, 0].numpy(), rtol=0.05, atol=0.05)
