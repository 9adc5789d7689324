"""Encoders of larger models follow the configuration beside their weights, as transformers does, and keep it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import BertModel, CLIPConfig, CLIPModel, SwinModel

from rsvl.checkpoints import load_encoder_weights, load_weights, save_weights
from rsvl.models.cd2fsan import CD2FSAN, FULL
from rsvl.modules.layers.attention import padding_bias
from rsvl.runtime.errors import CheckpointError
from tests.checkpoints.test_swin_bert import bert_config, randomised, reference_stages, stages, swin_config
from tests.support.small_fusion import images, sentences, small_model
from tests.support.tiny_clip import IMAGES, TOKENS, clip_config

# CD2FSAN with the encoders of `tiny_clip`.
SMALL_CD2FSAN = replace(
    FULL,
    image_size=16,
    patch=4,
    tokens=7,
    vision=(16, 2, 2),
    text=(12, 2, 2),
    vocabulary=62,
    embed_dim=8,
    candidates=(1, 1),
    neck=16,
    adapter=16,
    text_adapter=(64, 1),
    width=64,
    imc=48,
)


def clip_folder(folder: Path, **vision: Any) -> CLIPModel:
    """A CLIP with other heads, epsilon and activation than CD2FSAN's, as transformers writes it."""
    told = clip_config().to_dict()
    text = {"num_attention_heads": 6, "layer_norm_eps": 0.02, "hidden_act": "gelu"}
    config = CLIPConfig(
        vision_config=told["vision_config"] | {"num_attention_heads": 4, "layer_norm_eps": 0.1} | vision,
        text_config=told["text_config"] | text,
        projection_dim=8,
    )
    model = randomised(CLIPModel(config))
    model.save_pretrained(folder)  # type: ignore[operator]
    return model  # type: ignore[return-value]


@pytest.mark.filterwarnings("ignore:.*followed as it says")
def test_clip_within_cd2fsan_is_transformers_after_a_training_too(tmp_path: Path) -> None:
    theirs = clip_folder(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.5] * 3, "image_std": [0.2] * 3, "resample": 3, "size": 16, "crop_size": 16})
    )
    first, again = CD2FSAN("test", SMALL_CD2FSAN).eval(), CD2FSAN("test", SMALL_CD2FSAN).eval()
    load_encoder_weights(first, tmp_path)
    save_weights(first, tmp_path / "trained.safetensors")
    load_weights(again, tmp_path / "trained.safetensors")
    with torch.no_grad():
        expected = theirs(pixel_values=IMAGES, input_ids=TOKENS)
        for model in (first, again):
            image = model.image_encoder.embedding(model.image_encoder(IMAGES)[0][-1])
            for ours, reference in (
                (image, expected.image_embeds),
                (model.text_encoder(TOKENS)[1], expected.text_embeds),
            ):
                assert nn.functional.cosine_similarity(ours.double(), reference.double()).min() >= 0.99999
            assert (model.spec.image.mean, model.spec.image.std) == ((0.5,) * 3, (0.2,) * 3)
            assert model.spec.image.resize == "bilinear"  # its own


@pytest.mark.filterwarnings("ignore:.*followed as it says")
def test_encoders_of_another_model_bring_their_settings_and_nothing_else(tmp_path: Path) -> None:
    clip_folder(tmp_path)
    first, again = CD2FSAN("test", SMALL_CD2FSAN).eval(), CD2FSAN("test", SMALL_CD2FSAN).eval()
    load_encoder_weights(first, tmp_path)
    save_weights(first, tmp_path / "trained.safetensors", {"image_resize": "hamming"})
    load_encoder_weights(again, tmp_path / "trained.safetensors")
    assert again.extra_state() == first.extra_state() and again.spec.image.resize == "bilinear"


def test_sizes_that_a_model_keeps_are_said(tmp_path: Path) -> None:
    clip_folder(tmp_path, image_size=24)
    with pytest.warns(UserWarning) as said:
        load_encoder_weights(CD2FSAN("test", SMALL_CD2FSAN), tmp_path)
    assert any("test keeps images of 16 pixels, not 24: positions are fitted" in str(line.message) for line in said)


@pytest.mark.filterwarnings("ignore:.*followed as it says")
def test_bert_follows_its_heads_epsilon_and_activation(tmp_path: Path) -> None:
    config = bert_config(num_attention_heads=4)
    config.layer_norm_eps, config.hidden_act = 0.05, "relu"
    reference = randomised(BertModel(config))
    reference.save_pretrained(tmp_path)  # type: ignore[operator]
    model, tokens = small_model("lavt"), sentences([5, 6], [7])
    load_encoder_weights(model, tmp_path)
    with torch.no_grad():
        found = model.text_encoder(tokens, padding_bias(tokens != 0))
        expected = reference(input_ids=tokens, attention_mask=(tokens != 0).long()).last_hidden_state
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:.*followed as it says")
def test_swin_follows_its_epsilon_and_its_pixels(tmp_path: Path) -> None:
    config = swin_config()
    config.layer_norm_eps = 0.2
    reference = randomised(SwinModel(config))
    reference.save_pretrained(tmp_path)  # type: ignore[operator]
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.5] * 3, "image_std": [0.2] * 3, "resample": 3, "size": {"height": 9, "width": 9}})
    )
    model = small_model("lavt")
    load_encoder_weights(model, tmp_path)
    with torch.no_grad():
        found, expected = stages(model.image_encoder, images(1)), reference_stages(images(1), config)
    torch.testing.assert_close(found[-1], expected[-1], rtol=1e-4, atol=1e-4)
    assert (model.spec.image.mean, model.spec.image.std) == ((0.5,) * 3, (0.2,) * 3)


def test_the_pixels_of_a_swin_of_timm_are_followed(tmp_path: Path) -> None:
    randomised(SwinModel(swin_config())).save_pretrained(tmp_path)  # type: ignore[operator]
    told = {"mean": [0.5] * 3, "std": [0.5] * 3, "input_size": [3, 224, 224], "interpolation": "bicubic"}
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "swin_tiny", "pretrained_cfg": told}))
    model = small_model("lavt")
    with pytest.warns(UserWarning, match=r"image_mean is 0\.5, 0\.5, 0\.5, not 0\.485, 0\.456, 0\.406"):
        load_encoder_weights(model, tmp_path)
    assert model.spec.image.std == (0.5,) * 3


@pytest.mark.parametrize(
    ("build", "change", "named"),
    [
        (lambda: BertModel(bert_config()), {"model_type": "roberta"}, "model_type is 'roberta', not 'bert'"),
        (lambda: BertModel(bert_config()), {"hidden_act": "silu"}, "activation 'silu'"),
        (lambda: BertModel(bert_config()), {"num_hidden_layers": 6}, "num_hidden_layers is 6, .* have 4"),
        (lambda: BertModel(bert_config()), {"position_embedding_type": "relative_key"}, "position_embedding_type"),
        (lambda: BertModel(bert_config()), {"is_decoder": True}, "is_decoder is True"),
        (lambda: SwinModel(swin_config()), {"num_heads": [1, 2, 2, 8]}, r"num_heads is .*8\], .* have .*4\]"),
        (lambda: SwinModel(swin_config()), {"depths": [2, 2, 1, 1]}, "depths is"),
        (lambda: SwinModel(swin_config()), {"hidden_act": "relu"}, "activation 'relu'"),
        (lambda: SwinModel(swin_config()), {"model_type": "swinv2"}, "model_type is 'swinv2', not 'swin'"),
        (lambda: SwinModel(swin_config()), {"architecture": "vit_base"}, "architecture is 'vit_base'"),
    ],
)
def test_what_a_bert_or_swin_cannot_follow_is_refused_by_its_field(
    build: Callable[[], Any], change: dict[str, Any], named: str, tmp_path: Path
) -> None:
    build().save_pretrained(tmp_path)
    told = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(told | change))
    with pytest.raises(CheckpointError, match=named):
        load_encoder_weights(small_model("lavt"), tmp_path)
