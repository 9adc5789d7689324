"""Swin and BERT from published files: every layout gives the same encoder, transformers' own is the reference."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor
from transformers import BertConfig, BertModel, SwinConfig, SwinModel

from rsvl import registry
from rsvl.checkpoints import load_encoder_weights, load_weights, save_weights
from rsvl.modules.encoders.bert import BertSizes, BertWords
from rsvl.modules.encoders.swin import SwinEncoder, SwinSizes, fit_windows
from rsvl.modules.layers.attention import padding_bias
from rsvl.runtime.errors import CheckpointError, InputError, UsageError
from tests.support.small_fusion import TOKENS, images, sentences, small_model, small_preset

State = dict[str, Tensor]


def swin_config(window: int = 2) -> SwinConfig:
    """The Swin of `small_fusion`."""
    return SwinConfig(
        image_size=64, embed_dim=24, depths=[1, 2, 1, 1], num_heads=[1, 2, 2, 4], window_size=window, mlp_ratio=1
    )


def bert_config(**other: int) -> BertConfig:
    """The BERT of `small_fusion`."""
    sizes = {"vocab_size": 1024, "hidden_size": 24, "intermediate_size": 96, "max_position_embeddings": 2 * TOKENS}
    return BertConfig(**{**sizes, "num_hidden_layers": 4, "num_attention_heads": 2, **other})


def randomised(model: torch.nn.Module) -> torch.nn.Module:
    """The model in evaluation mode, every parameter random."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return model.eval()


def swin_state(prefix: str = "") -> State:
    """Transformers' own names, with what a file holds besides."""
    state = dict(randomised(SwinModel(swin_config())).state_dict())
    return {f"{prefix}{key}": value for key, value in state.items()} | {"classifier.weight": torch.ones(3, 192)}


def old_hugging_face(state: State) -> State:
    """The names of the files on the hub."""
    rules = (
        (r"\.attention\.q_proj\.", ".attention.self.query."),
        (r"\.attention\.k_proj\.", ".attention.self.key."),
        (r"\.attention\.v_proj\.", ".attention.self.value."),
        (r"\.attention\.o_proj\.", ".attention.output.dense."),
        (r"\.attention\.relative_position_bias\.", ".attention.self."),
        (r"\.mlp\.fc1\.", ".intermediate.dense."),
        (r"\.mlp\.fc2\.", ".output.dense."),
    )
    renamed = {f"swin.{_renamed(key, rules)}": value for key, value in state.items()}
    return renamed | {"swin.encoder.layers.0.blocks.0.attention.self.relative_position_index": torch.zeros(16, 16)}


def authors(state: State) -> State:
    """The layout of the authors' files, which LAVT starts from."""
    rules = (
        (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
        (r"^embeddings\.norm\.", "patch_embed.norm."),
        (r"^encoder\.layers\.", "layers."),
        (r"^layernorm\.", "norm."),
        (r"^classifier\.", "head."),
        *_IN_BLOCK,
    )
    return {_renamed(key, rules): value for key, value in _joined(state).items()} | {
        "layers.0.blocks.0.attn.relative_position_index": torch.zeros(16, 16)
    }


def timm(state: State) -> State:
    """Timm since 0.9: patches merge at a stage's start."""
    rules = ((r"^layers\.(\d)\.downsample\.", lambda m: f"layers.{int(m[1]) + 1}.downsample."),)
    return {_renamed(key, rules): value for key, value in authors(state).items()}


def torchvision(state: State) -> State:
    """Torchvision's numbered features."""
    rules = (
        (r"^patch_embed\.proj\.", "features.0.0."),
        (r"^patch_embed\.norm\.", "features.0.2."),
        (r"^layers\.(\d)\.blocks\.", lambda m: f"features.{2 * int(m[1]) + 1}."),
        (r"^layers\.(\d)\.downsample\.", lambda m: f"features.{2 * int(m[1]) + 2}."),
        (r"\.mlp\.fc1\.", ".mlp.0."),
        (r"\.mlp\.fc2\.", ".mlp.3."),
    )
    return {_renamed(key, rules): value for key, value in authors(state).items()}


_IN_BLOCK = (
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.o_proj\.", ".attn.proj."),
    (r"\.attention\.qkv\.", ".attn.qkv."),
    (r"\.attention\.relative_position_bias\.", ".attn."),
)


def _joined(state: State) -> State:
    """Queries, keys and values in one matrix."""
    joined = {key: value for key, value in state.items() if not re.search(r"\.[kv]_proj\.", key)}
    for key in [key for key in joined if ".q_proj." in key]:
        parts = [state[key.replace(".q_proj.", f".{name}_proj.")] for name in "qkv"]
        joined[key.replace(".q_proj.", ".qkv.")] = torch.cat(parts)
        del joined[key]
    return joined


def _renamed(key: str, rules: tuple) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key


def stages(model: SwinEncoder, pictures: Tensor) -> list[Tensor]:
    """The tokens after every stage."""
    x, _ = model.embed(pictures)
    outputs = []
    for index in range(4):
        x = model.blocks(index, model.merge(index, x) if index else x)
        outputs.append(x)
    return outputs


def reference_stages(pictures: Tensor, config: SwinConfig | None = None) -> list[Tensor]:
    """Transformers' own Swin with the same weights."""
    model = randomised(SwinModel(config or swin_config()))
    tokens, side = model.embeddings(pictures)
    encoded = model.encoder(
        tokens, side, output_hidden_states=True, output_hidden_states_before_downsampling=True, return_dict=True
    )
    return [state.flatten(2).transpose(1, 2) for state in encoded.reshaped_hidden_states[1:]]


@pytest.mark.parametrize("layout", [dict, old_hugging_face, authors, timm, torchvision])
def test_swin_of_every_layout_gives_transformers_stages(layout: Callable[[State], State], tmp_path: Path) -> None:
    save_file(layout(swin_state()), tmp_path / "swin.safetensors")
    model = small_model("lavt")
    load_encoder_weights(model, tmp_path / "swin.safetensors")
    with torch.no_grad():
        for found, expected in zip(stages(model.image_encoder, images(2)), reference_stages(images(2)), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_swin_that_transformers_saved_loads(tmp_path: Path) -> None:
    randomised(SwinModel(swin_config())).save_pretrained(tmp_path / "swin")
    model = small_model("lavt")
    load_encoder_weights(model, tmp_path / "swin")
    with torch.no_grad():
        torch.testing.assert_close(
            stages(model.image_encoder, images(1))[-1], reference_stages(images(1))[-1], rtol=1e-4, atol=1e-4
        )


def test_position_biases_of_another_window_are_interpolated() -> None:
    y, x = torch.meshgrid(torch.arange(13.0), torch.arange(13.0), indexing="ij")
    plane = (x + 2 * y).flatten()  # which interpolation keeps, but at its border
    key = "stages.0.blocks.0.attention.relative_position_bias.relative_position_bias_table"
    fitted = fit_windows({key: torch.stack([plane, -plane], dim=1)}, {key: torch.zeros(49, 2)})[key]
    places = (torch.arange(7.0) + 0.5) * 13 / 7 - 0.5
    expected = (places[None] + 2 * places[:, None])[1:-1, 1:-1]
    for head, sign in enumerate((1, -1)):
        found = fitted[:, head].view(7, 7)[1:-1, 1:-1]
        torch.testing.assert_close(found, sign * expected, rtol=0, atol=0.2)  # steps are 1.9 and 3.7


def test_swin_of_another_window_fills_the_model(tmp_path: Path) -> None:
    save_file(dict(randomised(SwinModel(swin_config(window=4))).state_dict()), tmp_path / "swin.safetensors")
    load_encoder_weights(small_model("lavt"), tmp_path / "swin.safetensors")


def bert_state() -> State:
    """A BERT as it was trained: with pooler, masked-language head, and TensorFlow's names of norms."""
    bert = randomised(BertModel(bert_config()))
    state = {f"bert.{key}": value for key, value in bert.state_dict().items()}
    state = {
        re.sub("LayerNorm.weight$", "LayerNorm.gamma", re.sub("LayerNorm.bias$", "LayerNorm.beta", key)): value
        for key, value in state.items()
    }
    return state | {"cls.predictions.bias": torch.zeros(1024), "bert.embeddings.position_ids": torch.zeros(1, 18)}


def test_bert_gives_transformers_words(tmp_path: Path) -> None:
    save_file(bert_state(), tmp_path / "bert.safetensors")
    model = small_model("lavt", "-tiny")
    load_encoder_weights(model, tmp_path / "bert.safetensors")
    tokens = sentences([5, 6, 7], [8])
    with torch.no_grad():
        found = model.text_encoder(tokens, padding_bias(tokens != 0))
        expected = randomised(BertModel(bert_config()))(tokens, attention_mask=(tokens != 0).long()).last_hidden_state
    is_word = tokens != 0
    torch.testing.assert_close(found[is_word], expected[is_word], rtol=1e-4, atol=1e-4)


def test_words_through_some_layers_and_the_rest_are_words_through_all() -> None:
    words = randomised(BertWords(BertSizes(width=8, layers=3, heads=2, vocabulary=1024, positions=TOKENS)))
    tokens = sentences([5, 6, 7])
    bias = padding_bias(tokens != 0)
    with torch.no_grad():
        first = words.layers(words.embed(tokens), bias, 0, 1)
        torch.testing.assert_close(words.layers(first, bias, 1), words(tokens, bias))


@pytest.mark.parametrize(
    ("state", "named"),
    [
        ({"fc.weight": torch.ones(2, 2)}, r"neither a Swin Transformer .* nor a BERT .* \(its keys: fc.weight\)"),
        (dict(BertModel(bert_config(hidden_size=12)).state_dict()), r"does not fit text_encoder of test .*12"),
        (dict(SwinModel(SwinConfig(image_size=64)).state_dict()), r"does not fit image_encoder of test .*unexpected"),
    ],
)
def test_another_architecture_is_named_and_nothing_is_loaded(state: State, named: str, tmp_path: Path) -> None:
    save_file(state, tmp_path / "other.safetensors")
    model = small_model("lavt")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=named) as caught:
        load_encoder_weights(model, tmp_path / "other.safetensors")
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_window_larger_than_a_stage_becomes_the_stage() -> None:
    encoder = SwinEncoder(SwinSizes(8, (1, 2), (1, 2), window=8), image_size=32).eval()
    assert [stage.blocks[0].window_size for stage in encoder.stages] == [8, 4]
    assert [block.shift_size for block in encoder.stages[1].blocks] == [0, 0]


VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "white", "ship", "left", "of", "pier", "##s"]
VOCABULARY += [f"other{number}" for number in range(1985)]  # a BERT's embeddings may have some rows more


def bert_sized(name: str = "lavt") -> torch.nn.Module:
    """A small model with a vocabulary of its own, as full presets have."""
    preset = small_preset(name, "")
    return registry.entry(name).build("test", replace(preset, bert=replace(preset.bert, vocabulary=2000)))


@pytest.fixture
def vocab(tmp_path: Path) -> Path:
    """A vocab.txt."""
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY))
    return tmp_path / "vocab.txt"


@pytest.mark.parametrize("what", ["file", "folder"])
def test_tokenizer_is_read_from_a_vocabulary_or_its_folder(what: str, vocab: Path) -> None:
    model = bert_sized()
    model.use_tokenizer(vocab if what == "file" else vocab.parent)
    assert Tokenizer.from_str(model.tokenizer_json()).encode("The white ships").tokens == [
        "[CLS]", "the", "white", "ship", "##s", "[SEP]",
    ]  # fmt: skip


def test_fianet_finds_object_and_place_in_the_given_vocabulary(vocab: Path) -> None:
    model = bert_sized("fianet")
    model.use_tokenizer(vocab)
    marked = [[VOCABULARY[i] for i in marks.nonzero().flatten()] for marks in (model.is_object, model.is_place)]
    assert marked == [["ship", "pier"], ["left"]]


def test_trained_words_without_a_tokenizer_are_refused_and_random_ones_get_the_small_one() -> None:
    with pytest.warns(UserWarning, match="random weights: it gets the small tokenizer"):
        assert bert_sized().tokenizer_json()
    trained = bert_sized()
    trained.source = {"weights": "lavt.safetensors", "sha256": "0"}
    with pytest.raises(UsageError, match="add --tokenizer"):
        trained.tokenizer_json()


def test_saved_weights_bring_their_tokenizer(vocab: Path, tmp_path: Path) -> None:
    model = bert_sized()
    model.use_tokenizer(vocab)
    save_weights(model, tmp_path / "trained.safetensors")
    other = bert_sized()
    load_weights(other, tmp_path / "trained.safetensors")
    assert other.tokenizer_json() == model.tokenizer_json()


def test_bert_folder_brings_its_tokenizer(tmp_path: Path) -> None:
    BertModel(bert_config(vocab_size=2000)).save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY))
    model = bert_sized()
    load_encoder_weights(model, tmp_path)
    assert '"pier"' in model.tokenizer_json()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (VOCABULARY[1:], "lacks \\[PAD\\]"),
        (["x", *VOCABULARY], "its \\[PAD\\] is not id 0"),
        ([*VOCABULARY, *map(str, range(5))], "has 2001 tokens, the model embeds 2000"),
        (VOCABULARY[:1500], "has 1500 tokens, the model embeds 2000"),
    ],
)
def test_another_vocabulary_is_refused(words: list[str], named: str, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    with pytest.raises(InputError, match=named):
        bert_sized().use_tokenizer(tmp_path)


@pytest.mark.parametrize("content", [None, "", '{"not": "a tokenizer"}'])
def test_what_is_no_tokenizer_is_refused(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(InputError, match="tokenizer"):
        bert_sized().use_tokenizer(tmp_path)


def test_a_tiny_preset_keeps_its_own_tokenizer(vocab: Path) -> None:
    with pytest.raises(UsageError, match="leave --tokenizer out"):
        small_model("lavt", "-tiny").use_tokenizer(vocab)
