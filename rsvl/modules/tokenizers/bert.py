"""BERT's WordPiece tokenizer: the one that ships, and others from files on disk."""

from __future__ import annotations

import gzip
from functools import cache
from importlib.resources import files
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.implementations import BertWordPieceTokenizer

from rsvl.runtime.errors import InputError

VOCABULARY_SIZE = 30522
"""Of the uncased BERTs."""

_PADDING = 128  # embeddings are padded to a multiple of at most this
_FILES = ("tokenizer.json", "vocab.txt")
_SPECIALS = ("[UNK]", "[CLS]", "[SEP]", "[PAD]")


@cache
def wordpiece_tokenizer_json() -> str:
    """The tokenizer of the uncased BERTs, which ships, as JSON text."""
    lines = gzip.decompress(files(__package__).joinpath("bert_wordpiece.txt.gz").read_bytes()).decode().splitlines()
    vocabulary = {token: index for index, token in enumerate(lines)}
    return str(BertWordPieceTokenizer(vocabulary, lowercase=True).to_str())


def bert_tokenizer_json(path: str | Path, vocabulary: int) -> str:
    """Reads an uncased BERT's tokenizer as JSON text, as `tokenizers.Tokenizer.from_str` reads it.

    Args:
        path: a Hugging Face directory of the BERT, its ``tokenizer.json``, or its ``vocab.txt`` (one token a line).
        vocabulary: the ids that the model has embeddings for.

    Raises:
        InputError: nothing there, not a WordPiece vocabulary, [PAD] is not id 0, more tokens than `vocabulary`, or so
            many less that it is another BERT's.
    """
    file = _find(Path(path))
    try:
        text = _read(file)
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # the library raises bare Exception for whatever is not a tokenizer
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{file} is not a BERT tokenizer ({reason}): give its tokenizer.json or vocab.txt") from error
    missing = [token for token in _SPECIALS if tokenizer.token_to_id(token) is None]
    if missing or tokenizer.token_to_id("[PAD]") != 0:
        wrong = f"it lacks {', '.join(missing)}" if missing else "its [PAD] is not id 0"
        raise InputError(f"{file} is not BERT's vocabulary ({wrong}): give that of the BERT the weights come from")
    if not 0 <= vocabulary - tokenizer.get_vocab_size() < _PADDING:
        raise InputError(
            f"{file} has {tokenizer.get_vocab_size()} tokens, the model embeds {vocabulary}: give the vocabulary of "
            "the BERT the weights come from"
        )
    return text


def holds_bert_tokenizer(path: Path) -> bool:
    """Whether a path is a directory with a BERT's tokenizer in it."""
    return any((path / name).is_file() for name in _FILES)


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    found = next((path / name for name in _FILES if (path / name).is_file()), None)
    if found is None:
        raise InputError(f"{path} holds no BERT tokenizer: give a folder with {' or '.join(_FILES)}, or one of the two")
    return found


def _read(file: Path) -> str:
    if file.suffix == ".json":
        return file.read_text(encoding="utf-8")
    return str(BertWordPieceTokenizer(str(file), lowercase=True).to_str())
