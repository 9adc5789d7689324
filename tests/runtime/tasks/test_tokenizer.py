"""Sentences to tokens: the toy tokenizer's ids are looked up in its word list."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

from rsvl.modules.tokenizers.words import train_tokenizer
from rsvl.runtime.errors import BundleError, InputError
from rsvl.runtime.manifest import TextSpec
from rsvl.runtime.tasks.tokenizer import Tokenizer
from tests.support.toy_bundle import WORDS, tokenizer_json


def tokenizer(length: int = 8, pad: int = 0) -> Tokenizer:
    return Tokenizer.from_file(tokenizer_json(), TextSpec(length, pad))


def ids(*words: str) -> list[int]:
    return [WORDS.index(word) for word in words]


def test_sentences_become_padded_rows_of_int64() -> None:
    tokens = tokenizer()(["The red square", "blue"])
    expected = [ids("<bos>", "the", "red", "square", "<eos>"), ids("<bos>", "blue", "<eos>")]
    assert tokens.dtype == np.int64
    assert tokens.tolist() == [row + [0] * (8 - len(row)) for row in expected]


def test_padding_uses_the_specs_id() -> None:
    assert tokenizer(length=5, pad=1)(["red"]).tolist() == [[*ids("<bos>", "red", "<eos>"), 1, 1]]


@pytest.mark.parametrize("words", [6, 7, 500])
def test_end_token_stays_within_the_length(words: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tokens = tokenizer()([" ".join(["red"] * words)])
    assert tokens.tolist() == [ids("<bos>", *["red"] * 6, "<eos>")]


def test_all_cut_sentences_share_one_warning() -> None:
    with pytest.warns(UserWarning) as caught:
        tokenizer()(["red " * 500, "blue " * 9, "green"])
    assert len(caught) == 1
    assert "8 tokens" in str(caught[0].message) and "1 more" in str(caught[0].message)


def test_sentence_that_fits_exactly_is_not_warned_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokenizer()(["red red red red red red"])


@pytest.mark.parametrize("sentence", ["", "   ", "\n\t", 3, None, "\ud800"])
def test_unusable_sentence_is_refused_in_one_line(sentence: object) -> None:
    with pytest.raises(InputError) as caught:
        tokenizer()(["red", sentence])  # type: ignore[list-item]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("sentence", "unknown"),
    [
        ("Is there a red ship?", []),
        ("  is THERE a  ship ??  12", []),
        ("What is the GDP of Peru?", ["GDP", "of", "Peru"]),
        ("a red 船, a Zug", ["船", "Zug"]),
    ],
)
def test_words_that_a_byte_tokenizer_must_spell_are_unknown(sentence: str, unknown: list[str]) -> None:
    words = Tokenizer.from_file(train_tokenizer(["is there a red ship?", "what is in the image?"], 400), TextSpec(8, 0))
    assert words.unknown(sentence) == unknown


def test_padding_and_truncation_in_the_file_are_not_applied() -> None:
    data = json.loads(tokenizer_json())
    data["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    data["padding"] = {
        "strategy": {"Fixed": 20},
        "direction": "Left",
        "pad_to_multiple_of": None,
        "pad_id": 3,
        "pad_type_id": 0,
        "pad_token": "green",
    }
    tokens = Tokenizer.from_file(json.dumps(data), TextSpec(8))(["the red square"])
    assert tokens.tolist() == tokenizer()(["the red square"]).tolist()


def test_file_and_text_give_the_same(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(tokenizer_json())
    for source in (path, str(path)):
        assert Tokenizer.from_file(source, TextSpec(8))(["red"]).tolist() == tokenizer()(["red"]).tolist()


@pytest.mark.parametrize("content", ["", "{}", "{not json", "weights"])
def test_damaged_tokenizer_is_a_bundle_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(BundleError, match=r"tokenizer\.json"):
        Tokenizer.from_file(path, TextSpec(8))


def test_missing_tokenizer_is_a_bundle_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="nowhere"):
        Tokenizer.from_file(tmp_path / "nowhere.json", TextSpec(8))


@pytest.mark.parametrize(
    "normalizer",
    [
        {"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}] * 34},
        {"type": "Precompiled", "precompiled_charsmap": "AAAA"},
    ],
)
def test_tokenizer_that_swells_is_refused(normalizer: dict) -> None:
    data = {**json.loads(tokenizer_json()), "normalizer": normalizer}
    with pytest.raises(BundleError, match=r"swell|Precompiled"):
        Tokenizer.from_file(json.dumps(data), TextSpec(8))


def test_sentence_of_a_whole_book_is_refused() -> None:
    with pytest.raises(InputError, match="50000 characters"):
        Tokenizer.from_file(tokenizer_json(), TextSpec(8))(["red square" * 5000])


def test_tokenizer_without_its_unknown_token_is_refused() -> None:
    data = json.loads(tokenizer_json())
    data["model"]["unk_token"] = "absent"
    with pytest.raises(BundleError, match="tokenizer"):
        Tokenizer.from_file(json.dumps(data), TextSpec(8))(["zeppelin"])
