"""CLIPs in the forms in which their authors release them: the embeddings of CLIP's formulas in float64, or a name."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnxruntime
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import rsvl
from rsvl import registry
from rsvl.checkpoints import load_encoder_weights, load_weights, save_weights
from rsvl.export.graphs import write_graph
from rsvl.models.clip import CLIP, Preset
from rsvl.modules.encoders.clip_resnet import ResNetSizes
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
from tests.support.tiny_resnet_clip import BLOCKS, HEADS, SIDE, WIDTH, random_resnet_clip
from tests.support.tiny_resnet_clip import IMAGES as RESNET_IMAGES

# As `tiny_clip`: "clip" has GELU, "clip-quickgelu" QuickGELU.
SMALL = Preset(image_size=16, patch=4, tokens=7, vision=(16, 2, 2), text=(12, 2, 2), vocabulary=62, embed_dim=8)
QUICK = replace(SMALL, activation="quick_gelu")
RESNET = replace(SMALL, image_size=SIDE, patch=0, vision=ResNetSizes(BLOCKS, width=WIDTH, heads=HEADS))


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


def open_clip_resnet(quick_gelu: bool, **vision: object) -> Callable[[nn.Module, Path], Path]:
    """A folder of open_clip with its JSON; such a ResNet has no patches, and blocks for each stage."""

    def write(model: nn.Module, folder: Path) -> Path:
        config = open_clip_config(quick_gelu=quick_gelu)
        sizes = {"image_size": SIDE, "layers": list(BLOCKS), "width": WIDTH, "patch_size": None}
        config["model_cfg"]["vision_cfg"] = {**sizes, **vision}
        save_file(weights(model), folder / "open_clip_model.safetensors")
        (folder / "open_clip_config.json").write_text(json.dumps(config))
        return folder

    return write


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


RESNETS: dict[str, tuple[Callable[[nn.Module, Path], Path], Preset, bool]] = {
    "OpenAI, TorchScript": (openai_archive, RESNET, True),
    "OpenAI, state dict": (openai_state, RESNET, True),
    "open_clip, safetensors with JSON": (open_clip_resnet(quick_gelu=True), RESNET, True),
    "RemoteCLIP": (saved("RemoteCLIP-RN50.pt"), RESNET, False),
    "open_clip's training": (saved("epoch_20.pt", training), replace(RESNET, activation="quick_gelu"), True),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("layout", RESNETS)
def test_released_layouts_of_resnets_give_the_embeddings_of_clips_formulas(layout: str, tmp_path: Path) -> None:
    write, preset, quick = RESNETS[layout]
    original = random_resnet_clip(quick)
    path = write(original, tmp_path)
    model, reference = CLIP("test", preset).eval(), copy.deepcopy(original).double()
    with warnings.catch_warnings(record=True) as lines, torch.no_grad():
        warnings.simplefilter("always")
        load_weights(model, path)
        expected: tuple[Tensor, ...] = reference.features(RESNET_IMAGES.double(), TOKENS)  # type: ignore[operator]
    told = layout.startswith(("OpenAI", "open_clip, "))
    (line,) = {str(line.message) for line in lines}
    assert ("followed as it says: text_encoder.activation is quick_gelu" if told else "tells the activation") in line
    in_pytorch = [model.graph(name)(x)[0] for name, x in (("image", RESNET_IMAGES), ("text", TOKENS))]
    in_onnx = run_in_onnx(model, tmp_path, image=RESNET_IMAGES, tokens=TOKENS)
    for ours in (in_pytorch, in_onnx):
        for embedding, theirs in zip(ours, expected, strict=True):
            assert nn.functional.cosine_similarity(embedding.detach().double(), theirs).min() >= 0.99999
    assert nn.functional.cosine_similarity(*expected[0], dim=0) < 0.999  # two images, two answers


def run_in_onnx(model: CLIP, folder: Path, **inputs: Tensor) -> list[Tensor]:
    """Its image's and its text's embedding as ONNX Runtime computes them, float32."""
    found = []
    for spec in model.spec.graphs[:2]:
        write_graph(model.graph(spec.name), spec, folder / f"{spec.name}.onnx")
        session = onnxruntime.InferenceSession(folder / f"{spec.name}.onnx", providers=["CPUExecutionProvider"])
        feed = {each.name: inputs[each.name].numpy() for each in session.get_inputs()}
        found.append(torch.from_numpy(session.run(None, feed)[0]))
    return found


def test_a_clip_takes_the_resnet_of_a_checkpoint_and_saves_it(tmp_path: Path) -> None:
    torch.save(weights(random_resnet_clip()), tmp_path / "RN50.pt")
    model, again = CLIP("test", SMALL).eval(), CLIP("test", SMALL).eval()
    with pytest.warns(UserWarning, match="test takes the sizes of the checkpoint: it is test-resized now"):
        load_weights(model, tmp_path / "RN50.pt")
    save_weights(model, tmp_path / "ours.safetensors")
    with pytest.warns(UserWarning, match="takes the sizes"):
        load_weights(again, tmp_path / "ours.safetensors")
    assert model.preset == again.preset == replace(RESNET, vision=replace(RESNET.vision, grid=7))
    with torch.no_grad():
        torch.testing.assert_close(model(RESNET_IMAGES, TOKENS), again(RESNET_IMAGES, TOKENS), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "other"), [("clip", "clip-rn50"), ("clip-rn101", "clip"), ("clip-rn50", "clip-rn50x4")]
)
def test_a_preset_becomes_that_of_another_image_encoder(name: str, other: str) -> None:
    told = pytest.warns(UserWarning, match=f"{name} takes the sizes of the checkpoint: it is {other} now")
    with torch.device("meta"):
        model, published = registry.create(name), registry.create(other)
        with told, model.resized(published.state_dict()):
            assert model.state_dict().keys() == published.state_dict().keys()
    assert (model.spec.name, model.preset) == (other, published.preset)


def test_heads_of_a_resnets_pooling_are_what_open_clip_says(tmp_path: Path) -> None:
    open_clip_resnet(quick_gelu=False, head_width=32)(random_resnet_clip(), tmp_path)
    model = CLIP("test", RESNET)
    with pytest.warns(UserWarning, match=r"image_encoder\.heads is 8, not 4"):
        load_weights(model, tmp_path)
    assert model.preset.vision == replace(RESNET.vision, heads=8) and model.image_encoder.attnpool.heads == 8
    open_clip_resnet(quick_gelu=False, layers=[1, 1, 1, 1])(random_resnet_clip(), tmp_path)
    with pytest.raises(CheckpointError, match=r"layers is \(1, 1, 1, 1\), the weights beside it have \(1, 2, 1, 1\)"):
        load_weights(CLIP("test", RESNET), tmp_path)


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
