"""BERT's tokenizer that ships, against the Python tokenizer that BERT's authors published, as transformers has it."""

from __future__ import annotations

import gzip
from importlib.resources import files
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

from rsvl.modules.tokenizers.bert import VOCABULARY_SIZE, bert_tokenizer_json, wordpiece_tokenizer_json
from rsvl.runtime.manifest import TextSpec
from rsvl.runtime.tasks.tokenizer import Tokenizer as RuntimeTokenizer

SENTENCES = (
    "The ship",
    "a red-roofed building left of the overpass, 12 m away!",
    "Windmill on the UPPER right",
    "l'aéroport à l'île",
    "飞机 on the runway",
    "airport\truins \n 3.5km² #7",
    "supercalifragilisticexpialidocious",
)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped vocabulary, one token per line."""
    packed = files("rsvl.modules.tokenizers").joinpath("bert_wordpiece.txt.gz").read_bytes()
    path = tmp_path_factory.mktemp("bert") / "vocab.txt"
    path.write_bytes(gzip.decompress(packed))
    return path


def test_the_shipped_tokenizer_gives_berts_ids(vocabulary: Path) -> None:
    ours = Tokenizer.from_str(wordpiece_tokenizer_json())
    theirs = BertTokenizerLegacy(str(vocabulary))
    assert [ours.encode(sentence).ids for sentence in SENTENCES] == [theirs.encode(sentence) for sentence in SENTENCES]


def test_known_ids_are_those_of_the_published_vocabulary() -> None:
    tokenizer = Tokenizer.from_str(wordpiece_tokenizer_json())
    assert tokenizer.get_vocab_size() == VOCABULARY_SIZE
    published = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, "the": 1996, "ship": 2911}
    assert {token: tokenizer.token_to_id(token) for token in published} == published


def test_the_same_vocabulary_from_a_file_is_the_same_tokenizer(vocabulary: Path) -> None:
    given = Tokenizer.from_str(bert_tokenizer_json(vocabulary, VOCABULARY_SIZE))
    assert [given.encode(s).ids for s in SENTENCES] == [
        Tokenizer.from_str(wordpiece_tokenizer_json()).encode(s).ids for s in SENTENCES
    ]


@pytest.mark.filterwarnings("ignore:.*was cut")
def test_a_long_sentence_is_cut_as_the_authors_of_lavt_do(vocabulary: Path) -> None:
    sentence = " ".join(["the ship in the harbour"] * 9)
    tokenizer = RuntimeTokenizer.from_file(wordpiece_tokenizer_json(), TextSpec(tokens=20, keep_end=False))
    assert tokenizer([sentence]).tolist() == [BertTokenizerLegacy(str(vocabulary)).encode(sentence)[:20]]
