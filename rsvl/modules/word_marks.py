"""Which ids of a tokenizer's vocabulary are certain words."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer
from torch import Tensor


def word_marks(tokenizer_json: str, words: str, vocabulary: int) -> Tensor:
    """Marks the ids that are a word, or its plural, by themselves; a word of several pieces is not marked.

    Args:
        tokenizer_json: the tokenizer as `tokenizers` JSON text.
        words: lower-case words with white space between them.
        vocabulary: number of ids.

    Returns:
        bool [vocabulary].
    """
    tokenizer = Tokenizer.from_str(tokenizer_json)
    unknown = tokenizer.token_to_id("[UNK]")
    marks = torch.zeros(vocabulary, dtype=torch.bool)
    for word in words.split():
        for form in (word, f"{word}s", f"{word}es"):
            ids = tokenizer.encode(form, add_special_tokens=False).ids
            if len(ids) == 1 and ids[0] != unknown:
                marks[ids] = True
    return marks
