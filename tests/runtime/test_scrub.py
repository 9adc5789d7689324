"""Scrubbing finds what has changed on the disk and in memory, and a spare copy mends it."""

from __future__ import annotations

import ctypes
import shutil
from pathlib import Path

import numpy as np
import pytest

from rsvl.runtime.bundle import Bundle
from rsvl.runtime.errors import BundleError, VerificationError
from rsvl.runtime.healing import heal
from rsvl.runtime.loading import load
from rsvl.runtime.scrub import Scrubber, open_bundle
from tests.runtime.test_bundle import pack
from tests.support.toy_bundle import write_bundle

FILES = ["manifest.json", "image.onnx", "head.onnx", "tokenizer.json", "golden/golden.npz"]
TEXTS = ["the red square"]


def flip(path: Path, bit: int = 1001) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8 % len(data)] ^= 1 << bit % 8
    path.write_bytes(data)


@pytest.fixture
def scrubber(bundle: Path) -> Scrubber:
    return Scrubber(load(bundle, "cpu", 1), TEXTS)


def test_nothing_has_changed(scrubber: Scrubber) -> None:
    for _ in range(2):
        assert scrubber.scrub().passed and scrubber.exact


@pytest.mark.parametrize("name", FILES)
def test_bit_on_the_disk_is_found_by_its_file(scrubber: Scrubber, bundle: Path, name: str) -> None:
    flip(bundle / name)
    report = scrubber.scrub()
    assert report.files == (name,) and not report.passed and name in str(report)


def test_missing_file_is_found(scrubber: Scrubber, bundle: Path) -> None:
    (bundle / "text.onnx").unlink()
    assert scrubber.scrub().files == ("text.onnx",)


def test_bit_of_kept_features_is_found(scrubber: Scrubber) -> None:
    (features,) = scrubber.runner.encode_sentences(TEXTS)
    colour = features["colour"]
    before = colour.tobytes()
    ctypes.memmove(colour.ctypes.data, (np.frombuffer(before, np.uint8) ^ 1).tobytes(), 1)
    assert colour.tobytes() != before
    report = scrubber.scrub()
    assert report.files == () and "features of sentences" in report.memory


@pytest.mark.parametrize(("factor", "says"), [(1 + 2**-22, "other bits"), (0.5, "fails"), (np.nan, "not finite")])
def test_other_outputs_than_at_first_are_found(
    scrubber: Scrubber, monkeypatch: pytest.MonkeyPatch, factor: float, says: str
) -> None:
    run = scrubber.runner.session.run

    def changed(*arguments: object) -> dict:
        outputs = run(*arguments)
        mask = outputs["mask_logits"].numpy().copy()
        mask[0, 0, 3, 3] *= np.float32(factor) if factor != 0.5 else 1
        return {**outputs, "mask_logits": mask if factor != 0.5 else -mask}

    monkeypatch.setattr(scrubber.runner.session, "run", changed)
    assert says in scrubber.scrub().memory


def test_golden_test_that_fails_at_first_is_refused(bundle: Path) -> None:
    from tests.runtime.test_check import change_golden, golden

    change_golden(bundle, mask_logits=-golden(bundle)["mask_logits"])
    with pytest.raises(VerificationError, match="golden test fails on cpu"):
        Scrubber(load(bundle, "cpu", 1))


@pytest.mark.parametrize("name", FILES)
def test_reload_mends_from_the_spare_copy(bundle: Path, tmp_path: Path, name: str) -> None:
    spare = shutil.copytree(bundle, tmp_path / "spare")
    scrubber = Scrubber(load(bundle, "cpu", 1), TEXTS, spare)
    before = scrubber.runner
    flip(bundle / name)
    assert not scrubber.scrub().passed
    assert scrubber.reload() is not before and scrubber.scrub().passed
    assert (bundle / name).read_bytes() == (spare / name).read_bytes()


def test_reload_without_a_spare_copy_says_what_is_damaged(scrubber: Scrubber, bundle: Path) -> None:
    flip(bundle / "head.onnx")
    with pytest.raises(BundleError, match=r"head\.onnx"):
        scrubber.reload()


def test_two_copies_mend_each_other(bundle: Path, tmp_path: Path) -> None:
    whole = {name: (bundle / name).read_bytes() for name in FILES}
    spare = shutil.copytree(bundle, tmp_path / "spare")
    flip(bundle / "head.onnx")
    flip(bundle / "manifest.json")
    (spare / "image.onnx").unlink()
    assert len(heal(bundle, spare)) == 3
    assert all((folder / name).read_bytes() == text for folder in (bundle, spare) for name, text in whole.items())
    assert heal(bundle, spare) == []


def test_file_that_is_damaged_in_both_is_named(bundle: Path, tmp_path: Path) -> None:
    spare = shutil.copytree(bundle, tmp_path / "spare")
    for folder in (bundle, spare):
        flip(folder / "head.onnx")
    with pytest.raises(BundleError, match=r"head\.onnx is damaged, and in"):
        heal(bundle, spare)


def test_another_bundle_mends_nothing(bundle: Path, tmp_path: Path) -> None:
    other = write_bundle(tmp_path / "other", precision="fp16")
    kept = (bundle / "manifest.json").read_bytes()
    with pytest.raises(BundleError, match="different bundles"):
        heal(bundle, other)
    assert (bundle / "manifest.json").read_bytes() == kept


def test_packed_bundle_is_mended_from_a_packed_copy(bundle: Path, tmp_path: Path) -> None:
    packed, spare = pack(bundle, tmp_path / "a.rsvl"), pack(bundle, tmp_path / "b.rsvl")
    flip(packed, 8 * packed.stat().st_size // 2)
    with pytest.raises(BundleError):
        open_bundle(packed)
    assert open_bundle(packed, spare).manifest == Bundle(spare).manifest
    with pytest.raises(BundleError, match="of the same form"):
        heal(packed, bundle)
