"""Injected faults, in short: what is flipped is found or changes nothing; what is not found counts against it."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsvl.benchmarks.laboratory.bit_flips import Question, Row, flip_in_file, in_files, in_memory, page
from rsvl.runtime import load
from tests.support.toy_bundle import write_bundle


@pytest.fixture
def question(tmp_path: Path) -> Question:
    pixels = np.full((32, 32, 3), 128, np.uint8)
    pixels[5:15, 10:20] = (255, 0, 0)
    Image.fromarray(pixels).save(tmp_path / "square.png")
    return Question(tmp_path / "square.png", ["red"], 0.01)


def test_flips_on_the_disk_are_all_detected_and_mended(tmp_path: Path, question: Question) -> None:
    bundle = write_bundle(tmp_path / "toy.bundle")
    rows = list(in_files(bundle, question, 4, random.Random(1), tmp_path))
    assert {row.what.split("`")[1] for row in rows} >= {"manifest.json", "head.onnx", "tokenizer.json"}
    for row in rows:
        assert row.outcomes == Counter(detected=4, recovered=4), row


def test_flips_in_memory_are_never_silent(tmp_path: Path, question: Question) -> None:
    rows = list(in_memory(write_bundle(tmp_path / "toy.bundle"), question, 6, random.Random(1)))
    assert sum(row.count for row in rows) >= 6 and sum(row.outcomes["silent"] for row in rows) == 0


def test_one_bit_is_flipped(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    flip_in_file(path, random.Random(0))
    assert sum(byte.bit_count() for byte in path.read_bytes()) == 1


def test_other_answers_are_wrong(tmp_path: Path, question: Question) -> None:
    runner = load(write_bundle(tmp_path / "toy.bundle"), "cpu", 1)
    right, other = question.answer(runner), Question(question.image, ["blue"], 0.01).answer(runner)
    assert question.is_wrong(other, right) and not question.is_wrong(question.answer(runner), right)


def test_table_counts_what_was_silent(question: Question) -> None:
    text = page([Row("a bit", Counter(detected=3, recovered=2, silent=1, harmless=4))], question, 7)
    assert "| a bit | 8 | 3 | 2 | 4 | 1 |" in text and "seed 7" in text
