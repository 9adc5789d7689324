"""The dual encoder against transformers' CLIP, its loss against the formula, its activation against what files say."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel

from rsvl import registry
from rsvl.checkpoints import load_weights, save_weights
from rsvl.export.graphs import write_graph
from rsvl.export.precision import in_precision
from rsvl.models.clip import CLIP, PRESETS, TINY, VIT_B_32, Preset, info_nce
from rsvl.runtime.errors import CheckpointError
from tests.support.declared_shapes import check_shapes
from tests.support.tensorrt_graphs import check_that_tensorrt_builds
from tests.support.tiny_clip import (
    IMAGES,
    TOKENS,
    OpenAICLIP,
    hugging_face_state,
    openai_state,
    randomised,
    write_open_clip_folder,
)

# The sizes of `tiny_clip`.
SMALL = Preset(
    image_size=16,
    patch=4,
    tokens=7,
    vision=(16, 2, 2),
    text=(12, 2, 2),
    vocabulary=62,
    embed_dim=8,
    activation="quick_gelu",
)
# clip-tiny in the same sizes, with its convolutional stem.
SMALL_TINY = replace(SMALL, image_size=32, patch=16, stem=(4, 8, 12, 16))


def build(preset: Preset = SMALL) -> CLIP:
    """A small model, random in every weight, in evaluation mode."""
    return randomised(CLIP("test", preset))  # type: ignore[return-value]


def theirs(activation: str) -> CLIPModel:
    """CLIP of transformers itself, with the same weights and an activation."""
    config = CLIPConfig(
        vision_config={
            "hidden_size": 16, "intermediate_size": 64, "image_size": 16, "patch_size": 4, "num_hidden_layers": 2,
            "num_attention_heads": 2, "hidden_act": activation,
        },
        text_config={
            "hidden_size": 12, "intermediate_size": 48, "vocab_size": 62, "max_position_embeddings": 7,
            "num_hidden_layers": 2, "num_attention_heads": 2, "eos_token_id": 61, "bos_token_id": 60,
            "pad_token_id": 0, "hidden_act": activation,
        },
        projection_dim=8,
    )  # fmt: skip
    model = CLIPModel(config).eval()
    model.load_state_dict(hugging_face_state())
    return model


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
def test_similarity_is_that_of_transformers(activation: str, tmp_path: Path) -> None:
    save_file(hugging_face_state(), tmp_path / "clip.safetensors")
    model = CLIP("test", replace(SMALL, activation=activation)).eval()
    load_weights(model, tmp_path / "clip.safetensors")
    with torch.no_grad():
        expected = theirs(activation)(pixel_values=IMAGES, input_ids=TOKENS).logits_per_image
        torch.testing.assert_close(model(IMAGES, TOKENS), expected, rtol=1e-4, atol=1e-4)


def test_openai_weights_fill_the_model_whole_without_a_warning(tmp_path: Path) -> None:
    original = randomised(OpenAICLIP())
    write_openai(tmp_path)
    model = CLIP("test", SMALL).eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("error")
        load_weights(model, tmp_path / "clip.pt")
        image, text = (nn.functional.normalize(x, dim=-1) for x in original.features(IMAGES, TOKENS))
        expected = original.logit_scale.exp() * image @ text.T
        torch.testing.assert_close(model(IMAGES, TOKENS), expected, rtol=1e-4, atol=1e-4)


def wider() -> CLIPModel:
    """CLIP of transformers with heads as wide as open_clip's, larger than `SMALL` in every way but the vocabulary."""
    shared = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 1, "num_attention_heads": 2}
    ids = {"vocab_size": 62, "max_position_embeddings": 9, "eos_token_id": 61, "bos_token_id": 60, "pad_token_id": 0}
    vision = {**shared, "image_size": 32, "patch_size": 8, "hidden_act": "quick_gelu"}
    config = CLIPConfig(vision_config=vision, text_config={**shared, **ids}, projection_dim=24)
    return randomised(CLIPModel(config)).eval()  # type: ignore[return-value]


def test_checkpoint_of_other_sizes_gives_the_model_its_own(tmp_path: Path) -> None:
    published = wider()
    save_file(published.state_dict(), tmp_path / "clip.safetensors")
    model, again = CLIP("test", SMALL).eval(), CLIP("test", SMALL).eval()
    with pytest.warns(UserWarning, match="test takes the sizes of the checkpoint: it is test-resized now"):
        load_weights(model, tmp_path / "clip.safetensors")
    assert model.spec.image.size == 32 and model.spec.words.tokens == 9 and not model.training
    save_weights(model, tmp_path / "ours.safetensors")
    with pytest.warns(UserWarning, match="takes the sizes"):
        load_weights(again, tmp_path / "ours.safetensors")
    images, tokens = torch.randn(2, 3, 32, 32), nn.functional.pad(TOKENS, (0, 2))
    with torch.no_grad():
        expected = published(pixel_values=images, input_ids=tokens).logits_per_image
        torch.testing.assert_close(model(images, tokens), expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(again(images, tokens), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda state: state.pop("text_projection.weight"), "missing: text_encoder.text_projection.weight"),
        (
            lambda state: state.update({"text_model.embeddings.token_embedding.weight": torch.ones(70, 128)}),
            "70 tokens",
        ),
    ],
    ids=["a weight is missing", "another vocabulary"],
)
@pytest.mark.filterwarnings("ignore:.*takes the sizes")
def test_checkpoint_of_other_sizes_that_does_not_fit_changes_nothing(
    change: Callable[[dict[str, Tensor]], object], named: str, tmp_path: Path
) -> None:
    state = wider().state_dict()
    change(state)
    save_file(state, tmp_path / "clip.safetensors")
    model = build()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=named):
        load_weights(model, tmp_path / "clip.safetensors")
    assert model.spec.name == "test"
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:.*takes the sizes")
def test_published_sizes_make_the_published_preset() -> None:
    large = PRESETS["clip-vit-l-14-quickgelu"]
    with torch.device("meta"):
        published = CLIP("test", replace(large, image_size=336)).state_dict()
        model = registry.create("clip-quickgelu")
        with model.resized(published):
            named = (model.spec.name, model.preset)
    assert named == ("clip-vit-l-14-quickgelu-336", replace(large, image_size=336))


@pytest.mark.parametrize("shape", [(), (1,)])
def test_scale_is_read_in_both_published_shapes(shape: tuple[int, ...], tmp_path: Path) -> None:
    torch.save({**openai_state(), "logit_scale": torch.full(shape, 2.5)}, tmp_path / "clip.pt")
    model = CLIP("test", SMALL)
    load_weights(model, tmp_path / "clip.pt")
    assert model.logit_scale.item() == 2.5


def test_scale_is_at_most_a_hundred() -> None:
    model = CLIP("test", SMALL)
    nn.init.constant_(model.logit_scale, 9.0)
    assert model.scale().item() == 100


def activation_of(model: CLIP) -> set[str]:
    """The activations that its layers have, by their value at 1."""
    towers = (model.image_encoder.vision_model, model.text_encoder.text_model)
    values = {layer.mlp.activation_fn(torch.ones(())).item() for tower in towers for layer in tower.encoder.layers}
    names = {0.8413: "gelu", 0.8458: "quick_gelu"}  # Φ(1), σ(1.702)
    return {names[round(value, 4)] for value in values}


def write_plain(folder: Path) -> Path:
    torch.save({k: v for k, v in openai_state().items() if k != "input_resolution"}, folder / "clip.pt")
    return folder / "clip.pt"


def write_openai(folder: Path) -> Path:
    constants = {name: torch.tensor(1) for name in ("input_resolution", "context_length", "vocab_size")}
    torch.save({**openai_state(), **constants}, folder / "clip.pt")
    return folder / "clip.pt"


def write_hugging_face(folder: Path) -> Path:
    theirs("gelu").save_pretrained(folder)
    return folder


def write_open_clip(folder: Path) -> Path:
    write_open_clip_folder(folder, quick_gelu=True)
    return folder


def write_ours(folder: Path) -> Path:
    save_weights(CLIP("other", replace(SMALL, activation="quick_gelu")), folder / "clip.safetensors")
    return folder / "clip.safetensors"


@pytest.mark.parametrize(
    ("write", "preset", "expected"),
    [
        (write_plain, "gelu", "gelu"),
        (write_plain, "quick_gelu", "quick_gelu"),
        (write_openai, "gelu", "quick_gelu"),
        (write_hugging_face, "quick_gelu", "gelu"),
        (write_open_clip, "gelu", "quick_gelu"),
        (write_ours, "gelu", "quick_gelu"),
    ],
)
def test_activation_is_what_the_file_says_or_else_the_presets(
    write: object, preset: str, expected: str, tmp_path: Path
) -> None:
    model = CLIP("test", replace(SMALL, activation=preset))
    load_weights(model, write(tmp_path))  # type: ignore[operator]
    assert activation_of(model) == {expected}


@pytest.mark.parametrize("name", PRESETS)
def test_every_graph_gives_the_shapes_that_its_declaration_names(name: str) -> None:
    with torch.device("meta"), torch.no_grad():
        model = registry.create(name).eval()
        assert activation_of_config(model) == PRESETS[name].activation
        check_shapes(model)


def activation_of_config(model: CLIP) -> str:
    return str(model.text_encoder.text_model.config.hidden_act)


def test_published_presets_have_clips_parameters() -> None:
    with torch.device("meta"):
        counts = {name: sum(p.numel() for p in registry.create(name).parameters()) for name in PRESETS}
    # open_clip's own counts of ViT-B-32, ViT-B-16, ViT-L-14, ViT-H-14 and the ResNets, in millions.
    published = {"clip": 151.28, "clip-vit-b-16": 149.62, "clip-vit-l-14": 427.62, "clip-vit-h-14": 986.11}
    published |= {"clip-rn50": 102.01, "clip-rn101": 119.69, "clip-rn50x4": 178.30, "clip-rn50x16": 290.98}
    published |= {"clip-rn50x64": 623.26}
    assert {name: round(counts[name] / 1e6, 2) for name in published} == published
    assert VIT_B_32.activation == "gelu"


def test_loss_is_the_symmetric_cross_entropy_of_the_pairs() -> None:
    similarity = torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    texts = torch.arange(4)[:, None]
    s = similarity.numpy()
    rows = [-np.log(np.exp(s[i, i]) / np.exp(s[i]).sum()) for i in range(4)]
    columns = [-np.log(np.exp(s[i, i]) / np.exp(s[:, i]).sum()) for i in range(4)]
    assert info_nce(similarity, texts).item() == pytest.approx((np.mean(rows) + np.mean(columns)) / 2)


def test_equal_texts_of_a_batch_are_no_counter_examples() -> None:
    # Two images of one class: the best similarities give each of its two texts half of the probability.
    best = torch.tensor([[9.0, 9.0, -9.0], [9.0, 9.0, -9.0], [-9.0, -9.0, 9.0]])
    named = torch.tensor([[1, 2], [1, 2], [1, 3]])
    entropy = 2 / 3 * np.log(2)  # of the targets themselves: nothing is left to learn
    assert info_nce(best, named).item() == pytest.approx(entropy, abs=1e-4)
    assert info_nce(best - 12 * torch.eye(3), named).item() > entropy + 1


@pytest.mark.parametrize("preset", [SMALL, replace(TINY, image_size=32)], ids=["published", "tiny"])
def test_contrast_teaches_every_parameter(preset: Preset) -> None:
    torch.manual_seed(0)
    model = CLIP("test", preset).train()
    tokens = torch.zeros(3, preset.tokens, dtype=torch.long)
    tokens[:, 0], tokens[:, 1] = torch.tensor([3, 4, 5]), preset.vocabulary - 1
    images = torch.randn(3, 3, preset.image_size, preset.image_size)
    model(images, tokens, contrast=True).backward()
    unused = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert [name for name in unused if not name.endswith("k_proj.bias")] == []  # softmax ignores the keys' bias


@pytest.mark.parametrize(
    ("preset", "precision", "tolerance"),
    [(SMALL, "fp32", 1e-4), (SMALL, "fp16", 2e-2), (SMALL_TINY, "fp16", 2e-2)],
    ids=["published-fp32", "published-fp16", "tiny-fp16"],
)
def test_exported_graphs_give_pytorchs_similarity_and_build_in_tensorrt(
    preset: Preset, precision: str, tolerance: float, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = CLIP("test", preset).eval()
    images = torch.randn(3, 3, preset.image_size, preset.image_size)
    known: dict[str, Tensor] = {"image": images, "tokens": TOKENS[[0, 1, 1]]}
    with torch.no_grad():
        expected = model(images, known["tokens"]).diagonal()
    for graph in model.spec.graphs:
        path = tmp_path / f"{graph.name}.onnx"
        write_graph(in_precision(model.graph(graph.name), model, precision, {}), graph, path)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        outputs = session.run(None, {t.name: np.asarray(known[t.name]) for t in graph.inputs})
        known |= {t.name: output for t, output in zip(graph.outputs, outputs, strict=True)}
    np.testing.assert_allclose(known["similarity"], expected, atol=tolerance * model.scale().item())
    check_that_tensorrt_builds(tmp_path, model.spec.graphs)
