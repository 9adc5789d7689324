"""CLIP's tokenizer against ids that open_clip 3.3.0's `SimpleTokenizer` gave, and against transformers' tokenizer."""

import json

import pytest
from tokenizers import Tokenizer

from rsvl.modules.tokenizers.clip import BOS, EOS, VOCABULARY_SIZE, clip_tokenizer_json

# Sentence and its ids without start and end token, as open_clip's tokenizer encodes it.
OPEN_CLIP = [
    ("the white ship left of the long pier", "518 1579 1158 1823 539 518 1538 11348"),
    ("  The  WHITE\tship\nby   the\u00a0pier ", "518 1579 1158 638 518 11348"),
    ("", ""),
    ("a café near the Zürich Flughafen", "320 15304 2252 518 89 6522 4021 3698 10010 25024"),
    ("cafe\u0301 de\u0301ja\u0300 vu", "15304 25466 73 21259 13230"),
    (
        "naïve façade; Ærøskøbing, Łódź, São Paulo",
        "1097 35689 563 778 10067 1928 282 42495 81 17483 909 17483 5665 267 40419 8891 67 129 374 267 45911 21628",
    ),
    (
        "3 storage tanks, 12.5 m wide (2024)",
        "274 6824 14223 267 272 273 269 276 332 3184 263 273 271 273 275 264",
    ),
    (
        "the harbour's third windmill; it's the largest, isn't it?",
        "518 10011 568 3981 34084 282 585 568 518 4960 267 2923 713 585 286",
    ),
    ("they'll, we've, I'm, you're, he'd", "889 1342 267 649 1200 267 328 880 267 592 982 267 797 1896"),
    ("the \u201cdry\u201d field \u2013 the farmer\u2019s", "518 257 4501 257 1570 1224 518 10474 568"),
    ("airport/runway #09L-27R @ 45°", "3259 270 13927 258 271 280 331 268 273 278 337 287 275 276 6858"),
    ("vehicle_in_the_lower-right...corner", "5299 318 530 318 518 318 4909 268 1155 678 5253"),
    (
        "飛行場の白い飛行機",
        "165 96 249 164 94 234 161 254 112 21575 163 247 121 33523 165 96 249 164 94 234 162 102 509",
    ),
    ("the ship 🚢 at the dock!!!", "518 1158 2730 351 536 518 8997 995"),
    ("½ of the ٣ ponds, x²", "33613 539 518 149 352 31033 267 343 41175"),
    (
        "हिन्दी ไทย العربية",
        "29446 26721 26090 19389 29552 25751 31718 245 33091 12973 18843 10948 16378 12046 20915",
    ),
    ("Москва", "38018 13506 23669 27152 39813 27080"),
    (
        "supercalifragilisticexpialidocious basketballcourt groundtrackfield",
        "1642 2857 13093 2076 5868 26850 835 639 38466 40023 2908 9558 10887 1570",
    ),
    (
        "Expressway-Service-area, Expressway-toll-station",
        "31658 268 2086 268 2445 267 31658 268 14155 268 2631",
    ),
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_str(clip_tokenizer_json())


def test_vocabulary_has_clip_ids(tokenizer: Tokenizer) -> None:
    assert tokenizer.get_vocab_size() == VOCABULARY_SIZE == 49408
    expected = {"!": 0, "~": 93, "¡": 94, "Ń": 255, "!</w>": 256, "Ń</w>": 511, "in": 512, BOS: 49406, EOS: 49407}
    assert {token: tokenizer.token_to_id(token) for token in expected} == expected


@pytest.mark.parametrize(("sentence", "ids"), OPEN_CLIP)
def test_sentence_has_the_ids_of_open_clip(tokenizer: Tokenizer, sentence: str, ids: str) -> None:
    assert tokenizer.encode(sentence).ids == [49406, *map(int, ids.split()), 49407]


def test_sentences_have_the_ids_of_transformers(tokenizer: Tokenizer) -> None:
    transformers = pytest.importorskip("transformers")
    model = json.loads(clip_tokenizer_json())["model"]
    reference = transformers.CLIPTokenizer(vocab=model["vocab"], merges=[tuple(pair) for pair in model["merges"]])
    # transformers keeps curly quotes as they are, where open_clip straightens them.
    sentences = [sentence for sentence, _ in OPEN_CLIP if "\u2019" not in sentence]
    assert [tokenizer.encode(s).ids for s in sentences] == reference(sentences)["input_ids"]


def test_decoding_gives_the_words_back(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode("The long  pier, 飛行").ids) == "the long pier , 飛行 "
