"""The golden test passes on an intact bundle and fails when the graphs compute something else."""

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from rsvl.runtime.check import check
from rsvl.runtime.errors import BundleError
from rsvl.runtime.manifest import GROUNDING, Manifest
from rsvl.runtime.tasks.segmentation import MIN_IOU
from tests.support.toy_bundle import FUSED, toy_spec, write_bundle, write_manifest


def change_golden(bundle: Path, **arrays: np.ndarray) -> None:
    path = bundle / "golden" / "golden.npz"
    np.savez(path, **{**np.load(path), **arrays})
    write_manifest(bundle, Manifest(toy_spec(), "fp32"))


def golden(bundle: Path) -> dict[str, np.ndarray]:
    return dict(np.load(bundle / "golden" / "golden.npz"))


@pytest.mark.parametrize("precision", MIN_IOU)
def test_intact_bundle_passes(tmp_path: Path, precision: str) -> None:
    report = check(write_bundle(tmp_path / "bundle", precision=precision), "cpu", threads=1)
    assert report.passed
    iou, difference = report.measures
    assert (iou.value, report.precision, iou.limit) == (1.0, precision, MIN_IOU[precision])
    assert (report.model, report.provider, report.samples, report.files) == ("toy", "cpu", 2, 5)
    assert difference.value < 1e-4


def test_single_graph_bundle_passes(tmp_path: Path) -> None:
    assert check(write_bundle(tmp_path / "bundle", FUSED), threads=1).passed


def test_other_weights_fail_the_golden_test(bundle: Path) -> None:
    model = onnx.load(bundle / "text.onnx")
    for tensor in model.graph.initializer:
        if tensor.name == "embedding":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(0.8), "embedding"))
    onnx.save(model, bundle / "text.onnx")
    write_manifest(bundle, Manifest(toy_spec(), "fp32"))
    assert not check(bundle, threads=1).passed


def test_report_measures_iou_and_difference(bundle: Path) -> None:
    logits = golden(bundle)["mask_logits"]
    # Random colours are near red or blue in few pixels: the masks are cut at the median, so half of all are inside.
    half, inside = logits.size // 2, np.argwhere(logits[0, 0] > np.median(logits))
    changed = logits.copy()
    changed[(0, 0, *inside[0])] = logits.min()
    change_golden(bundle, mask_logits=changed)
    iou, difference = check(bundle, threads=1).measures
    assert iou.value == pytest.approx((half - 1) / half, abs=2e-3)
    expected = (logits[(0, 0, *inside[0])] - logits.min()) / np.abs(changed).max()
    assert difference.value == pytest.approx(expected, abs=1e-5)


def test_empty_masks_agree(bundle: Path) -> None:
    arrays = golden(bundle)
    image = np.ones_like(arrays["image"])
    change_golden(bundle, image=image, mask_logits=np.full_like(arrays["mask_logits"], 30 * (0.5 - 2)))
    assert check(bundle, threads=1).measures[0].value == 1.0


@pytest.mark.parametrize("damage", ["no key", "no archive", "pickle", "shape"])
def test_unusable_golden_file_is_a_bundle_error(bundle: Path, damage: str) -> None:
    path = bundle / "golden" / "golden.npz"
    arrays = golden(bundle)
    if damage == "no key":
        np.savez(path, image=arrays["image"])
    elif damage == "no archive":
        path.write_bytes(b"PK nothing")
    elif damage == "pickle":
        np.savez(path, **{**arrays, "image": np.array([{"runs": "code"}], dtype=object)})
    else:
        np.savez(path, **{**arrays, "mask_logits": arrays["mask_logits"][:1]})
    write_manifest(bundle, Manifest(toy_spec(), "fp32"))
    with pytest.raises(BundleError, match="golden") as caught:
        check(bundle, threads=1)
    assert "\n" not in str(caught.value)


def test_changed_byte_stops_the_check(bundle: Path) -> None:
    data = bytearray((bundle / "head.onnx").read_bytes())
    data[-1] ^= 1
    (bundle / "head.onnx").write_bytes(data)
    with pytest.raises(BundleError, match=r"head\.onnx"):
        check(bundle)


def test_bundle_without_a_golden_test_is_refused(bundle: Path) -> None:
    (bundle / "golden" / "golden.npz").unlink()
    write_manifest(bundle, Manifest(toy_spec(), "fp32"))
    with pytest.raises(BundleError, match="golden"):
        check(bundle)


@pytest.mark.parametrize(
    "golden",
    [
        lambda path: path.write_bytes(b"\x93NUMPY"),
        lambda path: np.save(path.open("wb"), np.zeros(3)),
        lambda path: np.savez(path, image=np.float32(1), tokens=np.int64(1), mask_logits=np.float32(1)),
        lambda path: np.savez(path, image=np.zeros((2, 3, 32, 32)), tokens=np.zeros((2, 8)), mask_logits=np.zeros(2)),
        lambda path: with_header(
            path, b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 3, 32, 32), }"
        ),
    ],
    ids=["cut short", "one array", "no dimensions", "other types", "a header of 10^12 images"],
)
def test_golden_test_that_is_none_is_refused(bundle: Path, golden: Callable[[Path], None]) -> None:
    golden(bundle / "golden" / "golden.npz")
    write_manifest(bundle, Manifest(toy_spec(), "fp32"))
    with pytest.raises(BundleError, match="golden test cannot be read"):
        check(bundle, "cpu", 1)


def test_golden_test_that_swells_is_refused_before_it_is_read(bundle: Path) -> None:
    golden = zipfile.ZipFile(bundle / "golden" / "golden.npz", "w", zipfile.ZIP_DEFLATED)
    with golden as archive, archive.open("image.npy", "w", force_zip64=True) as file:
        for _ in range(130):
            file.write(bytes(1 << 23))
    write_manifest(bundle, Manifest(toy_spec(), "fp32"))
    with pytest.raises(BundleError, match="MiB of arrays"):
        check(bundle, "cpu", 1)


def with_header(path: Path, text: bytes) -> None:
    """A golden test whose image is a header and no data."""
    text += b" " * (-(10 + len(text) + 1) % 64) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("image.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)


def test_dead_model_fails(bundle: Path) -> None:
    model = onnx.load(bundle / "head.onnx")
    for tensor in model.graph.initializer:
        if tensor.name == "thirty":
            tensor.CopyFrom(numpy_helper.from_array(np.zeros((), np.float32), "thirty"))
    onnx.save(model, bundle / "head.onnx")
    change_golden(bundle, mask_logits=np.zeros_like(golden(bundle)["mask_logits"]))
    report = check(bundle, threads=1)
    assert [measure.name for measure in report.measures if not measure.passed] == ["samples that differ"]


def test_bundle_of_another_task_than_its_graphs_is_refused(bundle: Path) -> None:
    write_manifest(bundle, Manifest(replace(toy_spec(), task=GROUNDING), "fp32"))
    with pytest.raises(BundleError, match="give no scores, as visual-grounding must"):
        check(bundle, threads=1)
