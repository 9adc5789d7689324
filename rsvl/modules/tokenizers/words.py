"""A small tokenizer trained on given sentences, for presets that do not carry CLIP's 49,408-word vocabulary.

Byte-level BPE on lower-cased text: frequent words of the training sentences become one id each, and every other text
still encodes, byte by byte, without an unknown token.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

PAD, BOS, EOS = "<|pad|>", "<|startoftext|>", "<|endoftext|>"

_BYTES = 256
_MIN_VOCAB_SIZE = _BYTES + len((PAD, BOS, EOS))


def overhead_tokenizer_json() -> str:
    """The tokenizer of 1024 ids that ships with the tiny presets, as JSON text: trained on synthetic expressions."""
    return files("rsvl.modules.tokenizers").joinpath("overhead_bpe.json").read_text(encoding="utf-8")


def question_tokenizer_json() -> str:
    """Another for tiny presets that are asked questions, trained on synthetic questions, expressions and captions."""
    return files("rsvl.modules.tokenizers").joinpath("question_bpe.json").read_text(encoding="utf-8")


def train_tokenizer(sentences: Iterable[str], vocab_size: int) -> str:
    """Trains a byte-level BPE tokenizer; the same sentences in the same order give the same text.

    Ids: `<|pad|>` is 0, `<|startoftext|>` is 1, then the 256 bytes, then the merges; `<|endoftext|>` is the highest, so
    that a model finds a sentence's end by argmax over its ids. Encoding wraps a sentence in start and end tokens.

    Args:
        sentences: the training text; case and runs of white space do not matter.
        vocab_size: the most ids to use, at least 259 (specials and bytes). Fewer are used where the sentences hold
            too few pairs to merge.

    Returns:
        The tokenizer as JSON text, as `tokenizers.Tokenizer.from_str` reads it.

    Raises:
        ValueError: `vocab_size` is below 259.
    """
    if vocab_size < _MIN_VOCAB_SIZE:
        raise ValueError(
            f"vocab_size is {vocab_size}: at least {_MIN_VOCAB_SIZE} ids are needed for bytes and specials"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip(), normalizers.Lowercase()]
    )
    # The added leading space makes the first word the same id as that word later in a sentence.
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 1,  # leaves the highest id to EOS, which is added after training
        special_tokens=[PAD, BOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences, trainer)
    tokenizer.add_special_tokens([EOS])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A {EOS}",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (BOS, EOS)],
    )
    return str(tokenizer.to_str())
