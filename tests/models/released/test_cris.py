"""CRIS from its authors' file: the whole small network against another one that is written out in their names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F

from rsvl import registry
from rsvl.checkpoints.loading import load_encoder_weights, load_weights
from rsvl.export import export
from rsvl.modules.encoders.clip_resnet import RN50, RN101, AttentionPool, Bottleneck, CLIPResNetEncoder
from rsvl.runtime import Segmenter
from rsvl.runtime.errors import CheckpointError
from rsvl.runtime.tasks.tokenizer import Tokenizer
from tests.models.released.test_names import RELEASED
from tests.support.released_cris import (
    PRESET,
    SIZE,
    TOKENS,
    Answer,
    State,
    released_state,
    small_cris,
    write_released,
)
from tests.support.tensorrt_graphs import check_that_tensorrt_builds

START, END = 1, 1023


def images(count: int) -> torch.Tensor:
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def sentences() -> torch.Tensor:
    """A sentence with padding, a full one, and one with the padding's id within it, which the authors hide, too."""
    return torch.tensor(
        [[START, 5, 6, END, 0, 0, 0], [START, 9, 8, 7, 6, 5, END], [START, 4, 0, 11, END, 0, 0]], dtype=torch.int64
    )


@torch.no_grad()
def test_authors_file_gives_the_authors_answer(tmp_path: Path) -> None:
    state, model = released_state(), small_cris()
    write_released(state, tmp_path / "best_model.pth")
    with pytest.warns(UserWarning, match=r"left out, 1 that no output depends on \(backbone\.logit_scale\)$"):
        load_weights(model, tmp_path / "best_model.pth")
    expected = Answer(state)(images(3), sentences())
    found = model.double()(images(3).double(), sentences())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)  # our tables of positions are float32
    assert expected.std() > 0.1 and (expected[0] - expected[1]).abs().max() > 0.1


def test_what_is_missing_is_refused_and_what_is_unknown_is_named(tmp_path: Path) -> None:
    state, model = released_state(), small_cris()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    write_released({k: v for k, v in state.items() if k != "proj.vis.4.bias"}, tmp_path / "less.pth")
    with pytest.raises(CheckpointError, match=r"does not fit cris \(missing: projector\.mask\.pixels\.weight\)"):
        load_weights(model, tmp_path / "less.pth")
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    extra = {"backbone.adapter.weight": torch.ones(2), "neck.f6.0.weight": torch.ones(2)}
    write_released(state | extra, tmp_path / "more.pth")
    with pytest.warns(UserWarning, match=r"2 unknown \(backbone\.adapter\.weight, neck\.f6\.0\.weight\)"):
        load_weights(model, tmp_path / "more.pth")


def test_a_checkpoint_with_the_larger_resnet_makes_the_model_that_preset() -> None:
    with torch.device("meta"):
        model = registry.create("cris")
        own = model.published(RELEASED["cris-r101"])
        with pytest.warns(UserWarning, match="it is cris-r101 now"), model.resized(own):
            assert model.spec.name == "cris-r101"
            assert {k: v.shape for k, v in model.state_dict().items()} == {
                k: v.shape for k, v in own.items() if k != "backbone.logit_scale"
            }
        model = registry.create("cris")
        with pytest.warns(UserWarning), pytest.raises(CheckpointError), model.resized(own):
            raise CheckpointError("of something else")
    assert model.spec.name == "cris" and len(model.image_encoder.layer3) == 6


# As published, without the scale of CLIP's cosines and the positions that 17 words do not reach.
@pytest.mark.parametrize(("name", "published"), [("cris", 146_849_122), ("cris-r101", 161_251_682)])
def test_parameters_are_the_authors(name: str, published: int) -> None:
    with torch.device("meta"):
        model = registry.create(name)
    assert sum(each.numel() for each in model.parameters()) == published - 1 - (77 - 17) * 512


# OpenAI's RN50 has 102,007,137 parameters and RN101 119,688,033, with text encoders of 63,690,241 and 63,428,097.
@pytest.mark.parametrize(
    ("sizes", "embed_dim", "parameters"),
    [(RN50, 1024, 102_007_137 - 63_690_241), (RN101, 512, 119_688_033 - 63_428_097)],
    ids=["RN50", "RN101"],
)
def test_image_encoder_has_openais_parameters(sizes: object, embed_dim: int, parameters: int) -> None:
    with torch.device("meta"):
        encoder = CLIPResNetEncoder(sizes, embed_dim)
    assert sum(each.numel() for each in encoder.parameters()) == parameters


@torch.no_grad()
def test_clips_own_pooling_is_pytorchs_attention_asked_by_the_mean() -> None:
    torch.manual_seed(0)
    pool = AttentionPool(width=12, heads=3, out=5, grid=4).double()
    x = torch.randn(2, 12, 4, 4, dtype=torch.float64)
    tokens = x.flatten(2).permute(2, 0, 1)
    tokens = torch.cat([tokens.mean(0, keepdim=True), tokens]) + pool.positional_embedding[:, None]
    projections = pool.q_proj, pool.k_proj, pool.v_proj
    expected, _ = F.multi_head_attention_forward(
        tokens[:1], tokens, tokens, 12, 3, None, torch.cat([layer.bias for layer in projections]), None, None, False,
        0.0, pool.c_proj.weight, pool.c_proj.bias, use_separate_proj_weight=True, training=False, need_weights=False,
        q_proj_weight=pool.q_proj.weight, k_proj_weight=pool.k_proj.weight, v_proj_weight=pool.v_proj.weight,
    )  # fmt: skip
    torch.testing.assert_close(pool(x), expected[0])


def test_openais_file_fills_both_encoders_and_nothing_else(tmp_path: Path) -> None:
    state, model = released_state(), small_cris()
    neck = model.neck.aggregate[0].weight.clone()
    clip = {
        k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.") and "connect" not in k
    }
    torch.save(clip, tmp_path / "RN50.pt")
    load_encoder_weights(model, tmp_path / "RN50.pt")
    assert torch.equal(model.image_encoder.layer2[1].conv3.weight, state["backbone.visual.layer2.1.conv3.weight"])
    words = model.text_encoder.text_model.embeddings.token_embedding.weight
    assert torch.equal(words, state["backbone.token_embedding.weight"])
    assert torch.equal(model.neck.aggregate[0].weight, neck)


def test_loss_is_the_cross_entropy_of_each_pixel_and_reaches_every_weight() -> None:
    model = small_cris().train()
    masks = (torch.rand(3, 1, SIZE // 4, SIZE // 4, generator=torch.Generator().manual_seed(2)) > 0.7).float()
    logits = torch.linspace(-3, 3, masks.numel()).reshape(masks.shape)
    likelihood = np.where(masks.numpy() > 0.5, 1, -1) * logits.double().numpy()
    np.testing.assert_allclose(model.loss(logits, masks).item(), np.log1p(np.exp(-likelihood)).mean(), rtol=1e-5)
    for each in model.modules():
        if isinstance(each, Bottleneck):
            torch.nn.init.ones_(
                each.bn3.weight
            )  # they start at zero, which lets nothing through to what is before them
    model(images(2), sentences(), torch.tensor([0, 0, 1]), masks).backward()
    silent = {name for name, each in model.named_parameters() if each.grad is None or not each.grad.abs().max() > 1e-9}
    # Adding the same to every key changes no attention.
    assert {name for name in silent if not name.endswith(("key.bias", "k_proj.bias"))} == set()


def test_half_precision_bundle_agrees_for_any_batch_and_tensorrt_builds_it(tmp_path: Path) -> None:
    state, model = released_state(), small_cris()
    own = model.published(state)
    model.load_state_dict({name: own[name] for name in model.state_dict()})
    exported = export(model, tmp_path / "bundle", "fp16")
    assert exported.manifest.kept_fp32.keys() == {"projector.mask"} and exported.manifest.model.align_corners
    for graph in ("image", "text", "head"):
        proto = onnx.load(tmp_path / "bundle" / f"{graph}.onnx", load_external_data=False)
        assert {tensor.type.tensor_type.shape.dim[0].dim_param for tensor in proto.graph.input} == {"batch"}
        assert {node.domain for node in proto.graph.node} == {""}
    check_that_tensorrt_builds(tmp_path / "bundle", exported.manifest.model.graphs)
    segmenter = Segmenter.open(tmp_path / "bundle", "cpu")
    found = segmenter.run(image=images(3).numpy(), tokens=sentences().numpy())
    expected = Answer(state)(images(3), sentences()).numpy()
    assert np.abs(found["mask_logits"] - expected).max() < 0.02 * np.abs(expected).max()
    check_that_the_border_is_cut_off(segmenter, state)


def check_that_the_border_is_cut_off(segmenter: Segmenter, state: State) -> None:
    """An image of half the square's height is shown between two borders, which its mask does not have."""
    picture = np.random.default_rng(0).integers(0, 255, (SIZE // 2, SIZE, 3), np.uint8)
    square = np.full((SIZE, SIZE, 3), (128, 127, 126), np.uint8)
    square[SIZE // 4 : 3 * SIZE // 4] = picture
    shown = torch.tensor((square / 255 - 0.5) / 0.25).permute(2, 0, 1)[None]
    tokens = Tokenizer.from_file(small_cris().tokenizer_json(), segmenter.spec.words)(["the white ship"])
    logits = Answer(state)(shown, torch.from_numpy(tokens))
    expected = F.interpolate(logits, (SIZE, SIZE), mode="bilinear", align_corners=True).sigmoid()[0, 0].numpy()
    probability = segmenter.segment(picture, "the white ship").probability
    np.testing.assert_allclose(probability, expected[SIZE // 4 : 3 * SIZE // 4], atol=5e-3)


def test_small_sizes_are_those_of_the_test() -> None:
    assert (PRESET.tokens, PRESET.side) == (TOKENS, SIZE // 16)
