"""The trained tokenizer: its ids, that every text encodes, that training is deterministic."""

import pytest
from tokenizers import Tokenizer

from rsvl.modules.tokenizers.words import BOS, EOS, PAD, train_tokenizer

SENTENCES = [
    f"the {colour} {noun} {place} the {other}"
    for colour in ("white", "red", "long", "small")
    for noun in ("ship", "aircraft", "storage tank", "windmill")
    for place in ("left of", "above", "nearest to")
    for other in ("pier", "bridge", "roundabout")
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_str(train_tokenizer(SENTENCES, 512))


def test_specials_pad_is_0_and_end_is_the_highest_id(tokenizer: Tokenizer) -> None:
    assert tokenizer.token_to_id(PAD) == 0
    assert tokenizer.token_to_id(BOS) == 1
    assert tokenizer.token_to_id(EOS) == tokenizer.get_vocab_size() - 1 == max(tokenizer.get_vocab().values())
    assert tokenizer.get_vocab_size() <= 512


def test_frequent_words_become_one_id_each(tokenizer: Tokenizer) -> None:
    encoding = tokenizer.encode("the white ship left of the pier")
    assert len(encoding.ids) == 7 + 2
    assert encoding.ids[0] == tokenizer.token_to_id(BOS)
    assert encoding.ids[-1] == tokenizer.token_to_id(EOS)
    assert encoding.ids[1] == encoding.ids[6], "the first word has the id that it has later in the sentence"


@pytest.mark.parametrize("text", ["Zürich ✈ 飛行場", "0123 #%&", "\x00\x7f", "ﷺ 🚢", "qxjv"])
def test_unseen_text_encodes_and_decodes_to_itself_in_lower_case(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text).ids).strip() == text.lower()


@pytest.mark.parametrize("text", ["  The  WHITE\tship ", "the white ship", "THE WHITE SHIP\n"])
def test_case_and_white_space_do_not_matter(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.encode(text).ids == tokenizer.encode("the white ship").ids


def test_training_twice_gives_the_same_text() -> None:
    assert train_tokenizer(SENTENCES, 400) == train_tokenizer(iter(SENTENCES), 400)


def test_vocabulary_smaller_than_the_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 259"):
        train_tokenizer(SENTENCES, 258)
