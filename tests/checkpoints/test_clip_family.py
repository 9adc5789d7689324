"""CLIPs in the forms in which their authors release them: the embeddings of CLIP's formulas in float64, or a name."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import rsvl
from rsvl import registry
from rsvl.checkpoints import load_encoder_weights, load_weights
from rsvl.models.clip import CLIP, Preset
from rsvl.runtime.errors import CheckpointError
from tests.checkpoints.test_loading import write_torchscript
from tests.support.tiny_clip import (
    IMAGES,
    TOKENS,
    Encoders,
    OpenAICLIP,
    State,
    clip_config,
    open_clip_config,
    randomised,
    write_open_clip_folder,
)

# As `tiny_clip`: "clip" has GELU, "clip-quickgelu" QuickGELU.
SMALL = Preset(image_size=16, patch=4, tokens=7, vision=(16, 2, 2), text=(12, 2, 2), vocabulary=62, embed_dim=8)
QUICK = replace(SMALL, activation="quick_gelu")


def weights(model: nn.Module) -> State:
    """Its state dict, without the size that only OpenAI's files hold."""
    return {key: value for key, value in model.state_dict().items() if key != "input_resolution"}


def below_text(state: State) -> State:
    """Open_clip's names with a text tower of its own."""
    text = ("positional_embedding", "text_projection", "token_embedding.", "transformer.", "ln_final.")
    return {f"text.{key}" if key.startswith(text) else key: value for key, value in state.items()}


def training(state: State, **beside: object) -> dict[str, object]:
    """As open_clip's training saves under data parallelism."""
    wrapped = {f"module.{key}": value for key, value in state.items()}
    return {
        "epoch": 20,
        "name": "ViT-B-32",
        "state_dict": wrapped,
        "optimizer": {"state": {0: torch.ones(3)}},
        **beside,
    }


def openai_archive(model: nn.Module, folder: Path) -> Path:
    constants = {name: torch.tensor(1) for name in ("input_resolution", "context_length", "vocab_size")}
    write_torchscript(weights(model.half()) | constants, folder / "ViT-B-32.pt")
    return folder / "ViT-B-32.pt"


def openai_state(model: nn.Module, folder: Path) -> Path:
    constants = {name: torch.tensor(1) for name in ("input_resolution", "context_length", "vocab_size")}
    torch.save(weights(model) | constants, folder / "ViT-B-32.pt")
    return folder / "ViT-B-32.pt"


def saved(name: str, wrap: Callable[[State], object] = dict) -> Callable[[nn.Module, Path], Path]:
    """A file of `torch.save`."""

    def write(model: nn.Module, folder: Path) -> Path:
        torch.save(wrap(weights(model)), folder / name)
        return folder / name

    return write


def open_clip_folder(model: nn.Module, folder: Path) -> Path:
    write_open_clip_folder(folder, model, quick_gelu=True)
    return folder


def open_clip_bin(model: nn.Module, folder: Path) -> Path:
    torch.save(below_text(weights(model)), folder / "open_clip_pytorch_model.bin")
    (folder / "open_clip_config.json").write_text(json.dumps(open_clip_config(custom_text=True, quick_gelu=False)))
    return folder / "open_clip_pytorch_model.bin"


# Layout: how it is written, the preset that its authors' instructions amount to, its activation.
RELEASED: dict[str, tuple[Callable[[nn.Module, Path], Path], Preset, bool]] = {
    "OpenAI, TorchScript": (openai_archive, SMALL, True),
    "OpenAI, state dict": (openai_state, SMALL, True),
    "open_clip, safetensors with JSON": (open_clip_folder, SMALL, True),
    "open_clip, .bin with JSON": (open_clip_bin, QUICK, False),
    "RemoteCLIP": (saved("RemoteCLIP-ViT-B-32.pt"), SMALL, False),
    "GeoRSCLIP": (saved("RS5M_ViT-B-32.pt"), QUICK, True),
    "SkyScript": (saved("epoch_20.pt", training), SMALL, False),
    "FarSLIP": (saved("FarSLIP2_ViT-B-32.pt", lambda state: training(state, scaler={"scale": 65536.0})), QUICK, True),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("layout", RELEASED)
def test_released_layouts_give_the_embeddings_of_clips_formulas(layout: str, tmp_path: Path) -> None:
    write, preset, quick = RELEASED[layout]
    original = randomised(OpenAICLIP(quick=quick))
    path = write(original, tmp_path)
    model, reference = CLIP("test", preset).eval(), copy.deepcopy(original).double()
    with warnings.catch_warnings(record=True) as lines, torch.no_grad():
        warnings.simplefilter("always")
        load_weights(model, path)
        found = model.encode_image(IMAGES)[0], model.encode_text(TOKENS)[0]
        expected: tuple[Tensor, ...] = reference.features(IMAGES.double(), TOKENS)  # type: ignore[operator]
    for ours, theirs in zip(found, expected, strict=True):
        assert nn.functional.cosine_similarity(ours.double(), theirs).min() >= 0.99999
    told = layout.startswith(("OpenAI", "open_clip"))
    (line,) = {str(line.message) for line in lines}
    assert ("followed as it says: image_encoder.activation" if told else "nothing tells the activation") in line


def resnet(state: State) -> State:
    kept = {key: value for key, value in state.items() if not key.startswith("visual.")}
    names = ("visual.conv1.weight", "visual.layer1.0.conv1.weight", "visual.attnpool.positional_embedding")
    return kept | {name: torch.ones(4, 3, 3, 3) for name in names}


def trunk(name: str) -> Callable[[State], State]:
    def other(state: State) -> State:
        kept = {key: value for key, value in state.items() if not key.startswith("visual.")}
        return below_text(kept) | {f"visual.trunk.{name}": torch.ones(3)}

    return other


def several_languages(state: State) -> State:
    visual = {key: value for key, value in state.items() if key.startswith("visual.")}
    names = ("embeddings.word_embeddings.weight", "encoder.layer.0.attention.self.query.weight")
    return (
        visual
        | {f"text.transformer.{name}": torch.ones(9, 8) for name in names}
        | {"text.proj.0.weight": torch.ones(8, 8)}
    )


OTHERS: dict[str, tuple[Callable[[State], State], str]] = {
    "CLIP ResNet": (resnet, "a CLIP with a ResNet: give one with CLIP's own vision transformer"),
    "RS-M-CLIP": (several_languages, "a CLIP whose text encoder is a BERT or an XLM-R.* its words and tokens"),
    "MobileCLIP2": (trunk("patch_embed.backbone.0.conv.weight"), r"image encoder is timm's \(.*MobileCLIP"),
    "MobileCLIP, Apple's": (
        lambda state: {"image_encoder.model.patch_emb.0.block.conv.weight": torch.ones(3)},
        "a MobileCLIP",
    ),
    "CoCa": (lambda state: state | {"text_decoder.resblocks.0.ln_1.weight": torch.ones(3)}, "a CoCa"),
    "SigLIP": (
        lambda state: {
            "vision_model.embeddings.patch_embedding.bias": torch.ones(3),
            "vision_model.head.probe": torch.ones(1, 1, 3),
        },
        "a SigLIP",
    ),
    "Chinese-CLIP": (
        lambda state: state | {"bert.embeddings.word_embeddings.weight": torch.ones(9, 8)},
        "a BERT or an",
    ),
    "LoRA": (lambda state: {"vision_model.encoder.layers.0.mlp.fc1.lora_A.weight": torch.ones(3, 3)}, "an adapter"),
}


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("wrap", [dict, training], ids=["plain", "training"])
def test_a_relative_of_clip_is_named(kind: str, wrap: Callable[[State], object], tmp_path: Path) -> None:
    change, named = OTHERS[kind]
    torch.save(wrap(change(weights(OpenAICLIP()))), tmp_path / "other.pt")
    for load in (load_weights, load_encoder_weights):
        with pytest.raises(CheckpointError, match=named) as caught:
            load(CLIP("test", SMALL), tmp_path / "other.pt")
        assert str(caught.value).startswith(f"{tmp_path / 'other.pt'}: this is ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "causal"),
    [
        ("patch_embed.backbone.0.conv.weight", True),
        ("stem.0.conv_kxk.0.conv.weight", False),
        ("blocks.0.norm1.weight", False),
    ],
    ids=["MobileCLIP2-B", "MobileCLIP2-S0", "MobileCLIP2-L-14"],
)
def test_text_towers_of_mobileclip_are_read_where_they_are_causal(name: str, causal: bool, tmp_path: Path) -> None:
    original = randomised(OpenAICLIP(quick=False))
    torch.save(trunk(name)(weights(original)), tmp_path / "mobileclip2.pt")
    model = Encoders(clip_config())
    del model.image_encoder
    if not causal:
        with pytest.raises(CheckpointError, match=r"may attend in both directions, .* give MobileCLIP-B or"):
            load_encoder_weights(model, tmp_path / "mobileclip2.pt")
        return
    load_encoder_weights(model, tmp_path / "mobileclip2.pt")
    model.text_encoder.configure({"activation": "gelu"})
    with torch.no_grad():
        found = model.text_encoder(TOKENS)[1]
        _, expected = original.double().features(IMAGES.double(), TOKENS)  # type: ignore[operator]
    assert nn.functional.cosine_similarity(found.double(), expected).min() >= 0.99999


def test_an_encoder_that_no_file_fills_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    entry = registry.Entry("clip-family", "test", lambda name, preset: Encoders(preset), clip_config())
    monkeypatch.setitem(registry._ENTRIES, entry.name, entry)
    torch.save(trunk("patch_embed.backbone.0.conv.weight")(weights(OpenAICLIP())), tmp_path / "mobileclip2.pt")
    with pytest.warns(UserWarning, match="no file fills the image_encoder, which starts from random weights"):
        rsvl.load("clip-family", encoder_weights=tmp_path / "mobileclip2.pt")
