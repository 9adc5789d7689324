"""CLIP's tokenizer, built from the merges that OpenAI published and shipped here as `clip_bpe.txt.gz`.

It gives the ids of OpenAI's ``SimpleTokenizer`` (and so of open_clip's): lower-cased text, white space collapsed, split
by CLIP's pattern, byte-level BPE whose words end in ``</w>``. Of the cleaning that ``ftfy`` and ``html`` do there, it
keeps what people's sentences need: Unicode composition (NFC) and straight quotes for curly ones.
"""

from __future__ import annotations

import gzip
from functools import cache
from importlib.resources import files

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
VOCABULARY_SIZE = 49408

_WORD_END = "</w>"
_PATTERN = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"


@cache
def clip_tokenizer_json() -> str:
    """The tokenizer as JSON text, as `tokenizers.Tokenizer.from_str` reads it.

    Ids: the 256 bytes, the 256 bytes that end a word, one id a merge, `<|startoftext|>` 49406, `<|endoftext|>` 49407.
    Encoding wraps a sentence in start and end tokens; it neither cuts nor pads (see `rsvl.runtime.tasks.tokenizer`).
    """
    merges = _read_merges()
    tokenizer = Tokenizer(models.BPE(vocab=_vocabulary(merges), merges=merges, end_of_word_suffix=_WORD_END))
    tokenizer.add_special_tokens([BOS, EOS])
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Replace(Regex("[\u02bc\u2018-\u201b]"), "'"),
            normalizers.Replace(Regex("[\u201c-\u201f]"), '"'),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Lowercase(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PATTERN), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Replace(_WORD_END, " ")])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A {EOS}",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (BOS, EOS)],
    )
    return str(tokenizer.to_str())


def _read_merges() -> list[tuple[str, str]]:
    lines = gzip.decompress(files(__package__).joinpath("clip_bpe.txt.gz").read_bytes()).decode().splitlines()
    return [(left, right) for left, right in (line.split(" ") for line in lines)]


def _vocabulary(merges: list[tuple[str, str]]) -> dict[str, int]:
    # Printable bytes come first, as themselves; the others follow as the characters from U+0100 on. That is their
    # order by character, because the printable ones are all below U+0100.
    characters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*characters, *(c + _WORD_END for c in characters), *(left + right for left, right in merges), BOS, EOS]
    return {token: i for i, token in enumerate(tokens)}
