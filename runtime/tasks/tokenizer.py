"""Sentences to token ids, by the tokenizer that the bundle carries and the `tokenizers` library."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from rsvl.runtime.errors import BundleError, InputError
from rsvl.runtime.manifest import TextSpec

_MAX_CHARACTERS = 20_000
_MAX_GROWTH = 64
"""How many times as long all replacements of a tokenizer together may make a sentence."""


class Tokenizer:
    """Turns sentences into the `tokens` tensor that a model's text graph takes.

    The last token that is not padding is the end token. No other convention of ids holds for every tokenizer.
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer, spec: TextSpec) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()  # done below: the end token must survive, and the caller must be warned
        self._tokenizer = tokenizer
        self.spec = spec

    @classmethod
    def from_file(cls, source: str | Path, spec: TextSpec) -> Tokenizer:
        """Reads a `tokenizers` JSON.

        Args:
            source: the JSON file's path, or the JSON text itself (recognised by its opening brace).
            spec: length and padding.

        Raises:
            BundleError: no such file, or not a tokenizer.
        """
        is_json = str(source).lstrip().startswith("{")
        try:
            text = str(source) if is_json else Path(source).read_text(encoding="utf-8")
            _check_bounded(json.loads(text))
            return cls(tokenizers.Tokenizer.from_str(text), spec)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # bare Exception for a JSON that is no tokenizer, and Rust's panics
            name = "the JSON text" if is_json else source
            raise BundleError(f"{name}: not a readable tokenizer ({_first_line(error)}): export it again") from error

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Encodes sentences.

        Args:
            texts: N sentences. One with more tokens than the model takes is cut, keeping its end token; all those cut
                in one call share one warning.

        Returns:
            int64 [N, T], T being the spec's `tokens`, padded with the spec's `pad`.

        Raises:
            InputError: a sentence is not a string, is blank, or has no character that the tokenizer knows.
        """
        length = self.spec.tokens
        tokens = np.full((len(texts), length), self.spec.pad, dtype=np.int64)
        cut = []
        for row, text in zip(tokens, texts, strict=True):
            ids = self._encode(text)
            if len(ids) > length:
                cut.append(text)
                ids = [*ids[: length - 1], ids[-1]]
            row[: len(ids)] = ids
        if cut:
            others = f" and {len(cut) - 1} more" if len(cut) > 1 else ""
            warnings.warn(
                f"a sentence is longer than the model's {length} tokens and was cut: {cut[0][:48]!r}…{others}",
                stacklevel=2,
            )
        return tokens

    @property
    def vocabulary_size(self) -> int:
        """How many token ids there are."""
        return int(self._tokenizer.get_vocab_size())

    def unknown(self, text: str) -> list[str]:
        """The words of a sentence that the tokenizer does not know.

        Those it has no token for but the unknown one; and, as a tokenizer that falls back to bytes has no such token,
        those that it spells: into pieces of fewer than two letters in the mean.
        """
        mark = getattr(self._tokenizer.model, "unk_token", None)
        encoding = self._tokenizer.encode(text)
        pieces: dict[int, list[tuple[str, tuple[int, int]]]] = {}
        for token, span, word in zip(encoding.tokens, encoding.offsets, encoding.word_ids, strict=True):
            if word is not None:
                pieces.setdefault(word, []).append((token, span))
        unknown = []
        for tokens in pieces.values():
            written = text[tokens[0][1][0] : tokens[-1][1][1]].strip()
            spelled = any(map(str.isalpha, written)) and len(written) < 2 * len(tokens) and len(tokens) > 1
            if spelled or any(token == mark for token, _ in tokens):
                unknown.append(written)
        return unknown

    def _encode(self, text: str) -> list[int]:
        if not isinstance(text, str):
            raise InputError(f"a sentence must be a string, not {type(text).__name__}")
        if not text.strip():
            raise InputError("the sentence is empty: say what to look for, such as 'the white ship by the pier'")
        if len(text) > _MAX_CHARACTERS:
            raise InputError(f"a sentence of {len(text)} characters: {_MAX_CHARACTERS} are the most that is read")
        try:
            encoding = self._tokenizer.encode(text)
        except (TypeError, UnicodeError) as error:  # lone surrogates
            raise InputError(f"the sentence is not valid Unicode text: {text[:48]!a}") from error
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # bare Exception where it has no unknown token, and Rust's panics
            raise BundleError(f"the model's tokenizer fails ({_first_line(error)}): export the bundle again") from error
        if all(encoding.special_tokens_mask):
            raise InputError(f"the sentence has no character that the model's tokenizer knows: {text[:48]!r}")
        return encoding.ids


def _check_bounded(data: Any) -> None:
    """Refuses a tokenizer whose normalizers let a sentence swell, or are machine code's tables.

    Raises:
        ValueError: says which part.
    """
    growth = 1
    for part in _parts(data.get("normalizer")):
        if part.get("type") == "Precompiled":
            raise ValueError("a Precompiled normalizer, which rsvl does not write")
        if part.get("type") in ("Replace", "Prepend"):
            growth *= 1 + len(str(part.get("content", part.get("prepend", ""))))
    if growth > _MAX_GROWTH:
        raise ValueError("its normalizers let a sentence swell")


def _parts(normalizer: Any) -> Iterator[dict[str, Any]]:
    if isinstance(normalizer, dict):
        yield normalizer
        for part in normalizer.get("normalizers") or ():
            yield from _parts(part)


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
