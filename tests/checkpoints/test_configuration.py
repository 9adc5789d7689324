"""The configuration beside published weights is followed to its own library's embeddings, or refused by its field."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel

from rsvl.checkpoints import load_weights, save_weights
from rsvl.models.clip import CLIP, Preset
from rsvl.modules.tokenizers.clip import clip_tokenizer_json
from rsvl.runtime.errors import CheckpointError
from tests.support.tiny_clip import (
    IMAGES,
    TOKENS,
    OpenAICLIP,
    clip_config,
    open_clip_config,
    randomised,
    write_open_clip_folder,
)

# The sizes of `tiny_clip`; heads, epsilon and activation are what the folders tell.
SMALL = Preset(image_size=16, patch=4, tokens=7, vision=(16, 2, 2), text=(12, 2, 2), vocabulary=62, embed_dim=8)
MEAN, STD = [0.5, 0.4, 0.3], [0.3, 0.2, 0.1]


def hugging_face(folder: Path, vision: dict[str, Any], text: dict[str, Any]) -> CLIPModel:
    """A CLIP of transformers in a folder as transformers writes it."""
    told = clip_config().to_dict()
    config = CLIPConfig(
        vision_config=told["vision_config"] | vision, text_config=told["text_config"] | text, projection_dim=8
    )
    model = randomised(CLIPModel(config)).eval()
    model.save_pretrained(folder)
    return model  # type: ignore[return-value]


def write_processor(folder: Path, **changes: Any) -> None:
    """The preprocessing as transformers writes it."""
    told = {
        "crop_size": {"height": 16, "width": 16},
        "do_center_crop": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": MEAN,
        "image_std": STD,
        "resample": 2,
        "rescale_factor": 1 / 255,
        "size": {"shortest_edge": 16},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(told | changes))


def loaded(folder: Path) -> CLIP:
    model = CLIP("test", SMALL).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load_weights(model, folder)
    return model.eval()


def check_alike(model: CLIP, image: Tensor, text: Tensor, images: Tensor = IMAGES) -> None:
    """Compares a model's embeddings with unnormalised ones of `images` and `TOKENS`."""
    with torch.no_grad():
        found = model.encode_image(images)[0], model.encode_text(TOKENS)[0]
    for ours, theirs in zip(found, (image, text), strict=True):
        assert nn.functional.cosine_similarity(ours.double(), theirs.double()).min() >= 0.99999


def embeddings(model: CLIPModel, images: Tensor = IMAGES) -> tuple[Tensor, Tensor]:
    """What transformers' own model computes."""
    with torch.no_grad():
        out = model(pixel_values=images, input_ids=TOKENS)
    return out.image_embeds, out.text_embeds


TOWERS = {
    "heads": ({"num_attention_heads": 4}, {"num_attention_heads": 6}),
    "epsilon": ({"layer_norm_eps": 0.05}, {"layer_norm_eps": 0.1}),
    "activation of one": ({"hidden_act": "gelu"}, {"hidden_act": "quick_gelu"}),
    "all": (
        {"num_attention_heads": 8, "layer_norm_eps": 1e-2, "hidden_act": "quick_gelu"},
        {"num_attention_heads": 1, "layer_norm_eps": 1e-3, "hidden_act": "gelu"},
    ),
}


@pytest.mark.parametrize("case", TOWERS)
def test_a_hugging_face_folder_gives_the_embeddings_of_transformers(case: str, tmp_path: Path) -> None:
    theirs = hugging_face(tmp_path, *TOWERS[case])
    check_alike(loaded(tmp_path), *embeddings(theirs))
    check_alike(loaded(tmp_path / "model.safetensors"), *embeddings(theirs))


def test_a_folder_of_other_sizes_is_followed_to_its_image_and_its_sentence(tmp_path: Path) -> None:
    vision = {"image_size": 24, "hidden_size": 20, "intermediate_size": 80, "num_attention_heads": 5}
    theirs = hugging_face(tmp_path, vision, {"hidden_size": 10, "intermediate_size": 40})
    images = torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(2))
    model = loaded(tmp_path)
    assert (model.spec.image.size, model.preset.vision, model.preset.text) == (24, (20, 2, 5), (10, 2, 2))
    check_alike(model, *embeddings(theirs, images), images)


@pytest.mark.parametrize("case", TOWERS)
def test_what_was_followed_is_saved_with_the_weights(case: str, tmp_path: Path) -> None:
    theirs = hugging_face(tmp_path, *TOWERS[case])
    write_processor(tmp_path)
    save_weights(loaded(tmp_path), tmp_path / "ours.safetensors")
    again = loaded(tmp_path / "ours.safetensors")
    check_alike(again, *embeddings(theirs))
    assert (again.spec.image.mean, again.spec.image.resize) == (tuple(MEAN), "bilinear")


@pytest.mark.parametrize("quick", [False, True])
def test_an_open_clip_folder_is_followed(quick: bool, tmp_path: Path) -> None:
    theirs = randomised(OpenAICLIP(heads=(4, 3), eps=0.05, quick=quick))
    norm = {"norm_kwargs": {"eps": 0.05}}
    told = open_clip_config()["model_cfg"]
    write_open_clip_folder(
        tmp_path,
        theirs,
        quick_gelu=quick,
        vision_cfg=told["vision_cfg"] | {"head_width": 4} | norm,
        text_cfg=told["text_cfg"] | {"heads": 3} | norm,
    )
    with torch.no_grad():
        check_alike(loaded(tmp_path), *theirs.features(IMAGES, TOKENS))  # type: ignore[operator]


def test_what_is_followed_is_said_in_one_line_and_what_is_as_before_is_not(tmp_path: Path) -> None:
    hugging_face(tmp_path, {"num_attention_heads": 4, "hidden_act": "gelu"}, {"hidden_act": "gelu"})
    with pytest.warns(UserWarning) as said:
        load_weights(CLIP("test", SMALL), tmp_path)
    (line,) = [str(warning.message) for warning in said]
    assert line.endswith("followed as it says: image_encoder.heads is 4, not 2")


@pytest.mark.parametrize("name", ["preprocessor_config.json", "processor_config.json", "open_clip_config.json"])
def test_the_preprocessing_is_followed(name: str, tmp_path: Path) -> None:
    if name == "open_clip_config.json":
        write_open_clip_folder(tmp_path)
        told = json.loads((tmp_path / name).read_text())
        told["preprocess_cfg"] |= {"mean": MEAN, "std": STD, "interpolation": "bilinear", "size": 16}
    else:
        hugging_face(tmp_path, {}, {})
        write_processor(tmp_path)
        told = json.loads((tmp_path / "preprocessor_config.json").read_text())
        (tmp_path / "preprocessor_config.json").unlink()
        told = {"image_processor": told} if name == "processor_config.json" else told
    (tmp_path / name).write_text(json.dumps(told))
    image = loaded(tmp_path).spec.image
    assert (image.mean, image.std, image.resize) == (tuple(MEAN), tuple(STD), "bilinear")


def test_that_a_preprocessing_cuts_out_the_middle_is_said(tmp_path: Path) -> None:
    hugging_face(tmp_path, {"hidden_act": "gelu"}, {"hidden_act": "gelu"})
    write_processor(tmp_path, image_mean=[0.48145466, 0.4578275, 0.40821073], resample=3)
    with pytest.warns(UserWarning, match="preprocessor_config.json cuts out their middle"):
        load_weights(CLIP("test", SMALL), tmp_path)


def change(name: str, *path: str, to: Any) -> Callable[[Path], None]:
    """Changes one field of a file in a folder."""

    def write(folder: Path) -> None:
        told = json.loads((folder / name).read_text())
        part = told
        for key in path[:-1]:
            part = part[key]
        part[path[-1]] = to
        (folder / name).write_text(json.dumps(told))

    return write


CONFIG, PROCESSOR, OPEN = "config.json", "preprocessor_config.json", "open_clip_config.json"
REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "another width": (change(CONFIG, "vision_config", "hidden_size", to=32), "hidden_size is 32, .* have 16"),
    "another depth": (change(CONFIG, "text_config", "num_hidden_layers", to=3), "num_hidden_layers is 3, .* have 2"),
    "another image": (change(CONFIG, "vision_config", "image_size", to=32), "image_size is 32, .* have 16"),
    "another length": (
        change(CONFIG, "text_config", "max_position_embeddings", to=77),
        "max_position_embeddings is 77, .* have 7",
    ),
    "heads that do not divide": (change(CONFIG, "vision_config", "num_attention_heads", to=3), "cannot be read as"),
    "activation": (change(CONFIG, "vision_config", "hidden_act", to="relu"), "activation 'relu' is not supported"),
    "epsilon": (change(CONFIG, "text_config", "layer_norm_eps", to=-1.0), "epsilon of -1.0 is not supported"),
    "end token": (change(CONFIG, "text_config", "eos_token_id", to=5), "eos_token_id is 5"),
    "no object": (change(CONFIG, "vision_config", to=[]), "cannot be read as a CLIP's configuration"),
    "another model": (change(CONFIG, "model_type", to="siglip"), "model_type is 'siglip', not 'clip'"),
    "damaged": (lambda folder: (folder / CONFIG).write_text("{"), "config.json cannot be read as a model's"),  # type: ignore[dict-item, return-value]
    "another crop": (change(PROCESSOR, "crop_size", to=24), "image size is 24, .* have 16"),
    "a smaller crop": (change(PROCESSOR, "size", to={"shortest_edge": 20}), "become 20 pixels wide and 16 are cut"),
    "no 0…1": (change(PROCESSOR, "rescale_factor", to=1.0), "rescale_factor is 1.0"),
    "deviation": (change(PROCESSOR, "image_std", to=[0.1, 0.0, 0.1]), "preprocessing cannot be followed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_hugging_face_folder_that_cannot_be_followed_is_refused_by_its_field(case: str, tmp_path: Path) -> None:
    hugging_face(tmp_path, {}, {})
    write_processor(tmp_path)
    write, named = REFUSED[case]
    write(tmp_path)
    check_refused(tmp_path, named)


def check_refused(folder: Path, named: str) -> None:
    model = CLIP("test", SMALL)
    before = {key: value.clone() for key, value in model.state_dict().items()}, model.extra_state(), model.spec
    with pytest.raises(CheckpointError, match=named) as caught, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load_weights(model, folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
    torch.testing.assert_close(dict(model.state_dict()), before[0], rtol=0, atol=0)
    assert (model.extra_state(), model.spec) == before[1:]


@pytest.mark.parametrize(
    ("part", "field", "value", "named"),
    [
        ("vision_cfg", "width", 32, "width is 32, .* have 16"),
        ("vision_cfg", "mlp_ratio", 2.0, "mlp_ratio is 32, .* have 64"),
        ("vision_cfg", "image_size", 32, "image_size is 32, .* have 16"),
        ("vision_cfg", "pool_type", "avg", 'pool_type is "avg"'),
        ("vision_cfg", "no_ln_pre", True, "no_ln_pre is true"),
        ("vision_cfg", "timm_model_name", "convnext_base", "image encoder is not CLIP's"),
        ("vision_cfg", "not_yet_invented", 3, "not_yet_invented is 3"),
        ("text_cfg", "context_length", 77, "context_length is 77, .* have 7"),
        ("text_cfg", "no_causal_mask", True, "no_causal_mask is true"),
        ("text_cfg", "hf_model_name", "xlm-roberta-base", '"xlm-roberta-base": its text encoder and tokenizer'),
        ("text_cfg", "hf_tokenizer_name", "bert-base-uncased", "tokenizer is not CLIP's"),
    ],
)
def test_an_open_clip_folder_that_cannot_be_followed_is_refused_by_its_field(
    part: str, field: str, value: Any, named: str, tmp_path: Path
) -> None:
    write_open_clip_folder(tmp_path)
    change(OPEN, "model_cfg", part, field, to=value)(tmp_path)
    check_refused(tmp_path, named)


def bare(folder: Path, width: int) -> Path:
    """A file of weights alone, of a CLIP of another width."""
    hugging_face(folder, {"hidden_size": width, "intermediate_size": 4 * width}, {})
    return (folder / "model.safetensors").rename(folder / "clip.safetensors")


def test_heads_that_nothing_tells_are_said(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="nothing tells how many heads its encoders have: 2 and 2 "):
        load_weights(CLIP("test", SMALL), bare(tmp_path, 128))


def test_heads_that_nothing_tells_are_asked_for_where_none_are_usual(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"how many heads .* 20 .* put its config.json"):
        load_weights(CLIP("test", SMALL), bare(tmp_path, 20))


@pytest.mark.parametrize("file", ["vocab.json", "tokenizer.json"])
def test_a_tokenizer_of_other_words_is_refused(file: str, tmp_path: Path) -> None:
    preset = replace(SMALL, vocabulary=49408, activation="quick_gelu")
    told = clip_config().to_dict()
    text = told["text_config"] | {"vocab_size": 49408, "eos_token_id": 49407}
    config = CLIPConfig(
        vision_config=told["vision_config"] | {"hidden_act": "gelu"}, text_config=text, projection_dim=8
    )
    randomised(CLIPModel(config)).save_pretrained(tmp_path)  # type: ignore[operator]
    described = json.loads(clip_tokenizer_json())
    words = described["model"]["vocab"]
    for token in described["added_tokens"]:
        words[token["content"]] = token["id"]
    (tmp_path / file).write_text(json.dumps(words if file == "vocab.json" else described))
    load_weights(CLIP("test", preset), tmp_path)
    words["dog</w>"], words["cat</w>"] = words["cat</w>"], words["dog</w>"]
    (tmp_path / file).write_text(json.dumps(words if file == "vocab.json" else described))
    with pytest.raises(CheckpointError, match=rf"{file}: .* is token \d+, in CLIP's tokenizer \d+"):
        load_weights(CLIP("test", preset), tmp_path)
    del words["dog</w>"]
    (tmp_path / file).write_text(json.dumps(words if file == "vocab.json" else described))
    with pytest.raises(CheckpointError, match=r"49407 tokens, CLIP's tokenizer has 49408"):
        load_weights(CLIP("test", preset), tmp_path)
