"""CLIP checkpoints in every published layout give their own model's features; others are named and change nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPModel

from rsvl.checkpoints import load_encoder_weights
from rsvl.modules.encoders.clip_keys import TEXT_POSITIONS, VISION_POSITIONS, fit_positions
from rsvl.runtime.errors import CheckpointError
from tests.support.tiny_clip import (
    IMAGES,
    TOKENS,
    Encoders,
    OpenAICLIP,
    State,
    clip_config,
    hugging_face_state,
    openai_state,
    randomised,
)


def half(state: State) -> State:
    """OpenAI's releases hold half-precision weights."""
    return {key: value.half() for key, value in state.items()}


def custom_text(state: State) -> State:
    """open_clip's models with a text tower of their own: its keys under `text.`."""
    shared = ("visual.", "logit_scale", "input_resolution")
    return {key if key.startswith(shared) else f"text.{key}": value for key, value in state.items()}


def linear_projection(state: State) -> State:
    """open_clip with `text_projection` as a linear layer, whose weight is not transposed."""
    state = custom_text(state)
    return {**state, "text.text_projection.weight": state.pop("text.text_projection").T.contiguous()}


@pytest.mark.parametrize(
    ("layout", "tolerance"), [(dict, 1e-5), (half, 5e-3), (custom_text, 1e-5), (linear_projection, 1e-5)]
)
def test_openai_and_open_clip_layouts_give_openai_features(layout: Callable, tolerance: float, tmp_path: Path) -> None:
    save_file(layout(openai_state()), tmp_path / "clip.safetensors")
    check_features(randomised(OpenAICLIP()).features, tmp_path / "clip.safetensors", tolerance)


@pytest.mark.parametrize("extra", [{}, {"vision_model.embeddings.position_ids": torch.arange(17)[None]}])
def test_hugging_face_layout_gives_the_features_of_transformers(extra: State, tmp_path: Path) -> None:
    save_file(hugging_face_state() | extra, tmp_path / "clip.safetensors")
    clip = randomised(CLIPModel(clip_config()))

    def features(images: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        image, text = clip.vision_model(images).pooler_output, clip.text_model(tokens).pooler_output
        return clip.visual_projection(image), clip.text_projection(text)

    check_features(features, tmp_path / "clip.safetensors", 1e-5)


def check_features(reference: Callable, path: Path, tolerance: float) -> None:
    model = Encoders(clip_config()).eval()
    load_encoder_weights(model, path)
    with torch.no_grad():
        features, expected = model.features(IMAGES, TOKENS), reference(IMAGES, TOKENS)
    torch.testing.assert_close(features, expected, atol=tolerance, rtol=tolerance)


def test_positions_are_interpolated_as_pillow_resizes() -> None:
    positions = torch.randn(1 + 14 * 14, 3, generator=torch.Generator().manual_seed(0))
    fitted = fit_positions({VISION_POSITIONS: positions}, vision_tokens=1 + 30 * 30, text_tokens=22)[VISION_POSITIONS]
    assert torch.equal(fitted[0], positions[0]), "the class token's stays"
    for channel in range(3):
        grid = Image.fromarray(positions[1:, channel].reshape(14, 14).numpy())
        expected = np.asarray(grid.resize((30, 30), Image.Resampling.BICUBIC))
        np.testing.assert_allclose(fitted[1:, channel].reshape(30, 30).numpy(), expected, atol=1e-5)


def test_positions_are_interpolated_by_the_cubic_formula() -> None:
    """Keys' kernel with a = -1/2 between pixel centres, its weights renormalised at the border, in float64."""
    positions = torch.randn(1 + 4 * 4, 5, generator=torch.Generator().manual_seed(0))
    centres = (np.arange(6) + 0.5) * 4 / 6 - 0.5
    d = np.abs(centres[:, None] - np.arange(4)[None])
    kernel = np.where(d <= 1, 1.5 * d**3 - 2.5 * d**2 + 1, np.where(d < 2, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2, 0))
    kernel /= kernel.sum(axis=1, keepdims=True)
    grid = positions[1:].double().numpy().reshape(4, 4, 5)
    expected = np.einsum("yi,xj,ijd->yxd", kernel, kernel, grid).reshape(36, 5)
    fitted = fit_positions({VISION_POSITIONS: positions}, vision_tokens=37, text_tokens=7)
    np.testing.assert_allclose(fitted[VISION_POSITIONS][1:].numpy(), expected, atol=2e-6)


def test_positions_of_the_same_size_stay_and_words_are_cut() -> None:
    state = hugging_face_state()
    fitted = fit_positions(state, vision_tokens=17, text_tokens=5)
    assert torch.equal(fitted[VISION_POSITIONS], state[VISION_POSITIONS])
    assert torch.equal(fitted[TEXT_POSITIONS], state[TEXT_POSITIONS][:5])


def test_a_larger_image_size_loads_with_interpolated_positions(tmp_path: Path) -> None:
    save_file(openai_state(), tmp_path / "clip.safetensors")
    model = Encoders(clip_config(image_size=24))
    load_encoder_weights(model, tmp_path / "clip.safetensors")
    expected = fit_positions({VISION_POSITIONS: openai_state()["visual.positional_embedding"]}, 37, 7)
    loaded = model.image_encoder.vision_model.embeddings.position_embedding.weight
    assert torch.equal(loaded, expected[VISION_POSITIONS])


@pytest.mark.parametrize(
    ("vision", "named"),
    [
        ({"patch_size": 2}, r"patch_embedding\.weight is \[16, 3, 2, 2\] and should be \[16, 3, 4, 4\]"),
        ({"hidden_size": 20}, r"class_embedding is \[20\] and should be \[16\].* more"),
        ({"num_hidden_layers": 3}, r"unexpected: image_encoder\.vision_model\.encoder\.layers\.2\..* and 13 more"),
        ({"num_hidden_layers": 1}, r"missing: image_encoder\.vision_model\.encoder\.layers\.1\..* and 13 more"),
    ],
)
def test_another_architecture_is_named_and_nothing_is_loaded(vision: dict, named: str, tmp_path: Path) -> None:
    save_file(CLIPModel(clip_config(**vision)).state_dict(), tmp_path / "other.safetensors")
    model = Encoders(clip_config())
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=named) as caught:
        load_encoder_weights(model, tmp_path / "other.safetensors")
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("key", ["visual.layer1.0.conv1.weight", "visual.trunk.patch_embed.proj.weight", "fc.weight"])
def test_encoders_of_another_kind_are_refused(key: str, tmp_path: Path) -> None:
    save_file({key: torch.ones(2, 2)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=f"a CLIP with a vision transformer .*{re.escape(key)}"):
        load_encoder_weights(Encoders(clip_config()), tmp_path / "other.safetensors")


def test_a_model_without_clip_encoders_is_refused(tmp_path: Path) -> None:
    save_file(openai_state(), tmp_path / "clip.safetensors")
    with pytest.raises(CheckpointError, match="Linear has no encoders that are published"):
        load_encoder_weights(nn.Linear(2, 2), tmp_path / "clip.safetensors")
