"""Opening bundles: intact ones open, anything damaged, unsafe or too new is refused by name."""

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rsvl.runtime.bundle import Bundle, safe_name
from rsvl.runtime.errors import BundleError
from rsvl.runtime.manifest import Manifest, TextSpec, seal
from tests.support.toy_bundle import toy_spec, write_manifest


def pack(folder: Path, target: Path, compression: int = zipfile.ZIP_STORED, **renamed: str) -> Path:
    """Zips a bundle; keyword arguments rename entries, by file stem."""
    with zipfile.ZipFile(target, "w", compression) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.writestr(renamed.get(path.stem, path.relative_to(folder).as_posix()), path.read_bytes())
    return target


def change_manifest(folder: Path, change: Callable[[dict], None]) -> None:
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(seal(data)))


def refusal(source: Path, check: bool = True) -> str:
    with pytest.raises(BundleError) as caught:
        Bundle(source, check)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_directory_and_packed_file_hold_the_same(whole_bundle: Path, tmp_path: Path) -> None:
    directory, packed = Bundle(whole_bundle), Bundle(pack(whole_bundle, tmp_path / "toy.rsvl"))
    assert directory.manifest == packed.manifest
    for name in directory.manifest.files:
        assert directory.path(name).read_bytes() == packed.path(name).read_bytes()


def test_unpacked_files_vanish_with_the_bundle(whole_bundle: Path, tmp_path: Path) -> None:
    packed = Bundle(pack(whole_bundle, tmp_path / "toy.rsvl"))
    root = packed.root
    assert root.is_dir()
    del packed
    assert not root.exists()


@pytest.mark.parametrize("name", ["head.onnx", "tokenizer.json", "golden/golden.npz"])
def test_changed_byte_is_refused_by_name(bundle: Path, name: str) -> None:
    data = bytearray((bundle / name).read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / name).write_bytes(data)
    assert name in refusal(bundle) and "SHA-256" in refusal(bundle)
    Bundle(bundle, check=False)


def test_changed_byte_in_a_packed_file_is_refused(bundle: Path, tmp_path: Path) -> None:
    packed = pack(bundle, tmp_path / "toy.rsvl")
    data = bytearray(packed.read_bytes())
    data[data.index((bundle / "head.onnx").read_bytes()) + 20] ^= 1
    packed.write_bytes(data)
    assert "toy.rsvl" in refusal(packed)


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("name", ["text.onnx", "tokenizer.json", "golden/golden.npz", "manifest.json"])
def test_missing_file_is_refused_by_name(bundle: Path, name: str, check: bool) -> None:
    (bundle / name).unlink()
    assert name in refusal(bundle, check)


def test_unlisted_file_is_refused_but_not_an_engine(bundle: Path) -> None:
    (bundle / "engines" / "gpu").mkdir(parents=True)
    (bundle / "engines" / "gpu" / "image.engine").write_bytes(b"cache")
    Bundle(bundle)
    (bundle / "weights.bin").write_bytes(b"?")
    assert "weights.bin" in refusal(bundle)


@pytest.mark.parametrize("used_by", ["graph", "tokenizer"])
def test_file_that_the_model_needs_must_be_listed(bundle: Path, used_by: str) -> None:
    spec = toy_spec()
    if used_by == "graph":
        spec = replace(spec, graphs=(replace(spec.graphs[0], file="other.onnx"), *spec.graphs[1:]))
    else:
        spec = replace(spec, text=TextSpec(8, tokenizer="other.json"))
    write_manifest(bundle, Manifest(spec, "fp32"))
    assert "other" in refusal(bundle)


CLIMBING = [
    "../outside",
    "/etc/hostname",
    "a/../../outside",
    "..\\outside",
    "C:\\outside",
    "C:outside",
    "",
    ".",
    "a\0b",
]


@pytest.mark.parametrize("name", CLIMBING)
def test_path_that_climbs_out_is_refused(name: str, bundle: Path) -> None:
    with pytest.raises(BundleError, match="leaves the bundle"):
        safe_name(name, "bundle")
    (bundle.parent / "outside").write_bytes(b"secret")
    change_manifest(bundle, lambda data: data["files"].update({name: "0" * 64}))
    assert "leaves the bundle" in refusal(bundle, check=False)


def test_name_longer_than_names_are_is_refused_in_a_few_words(bundle: Path) -> None:
    change_manifest(bundle, lambda data: data["files"].update({"x" * 5000: "0" * 64}))
    assert "a file name of 5000 letters" in refusal(bundle, check=False) and len(refusal(bundle, check=False)) < 500


@pytest.mark.parametrize("name", ["../text.onnx", "/tmp/text.onnx", "..\\text.onnx"])
def test_packed_path_that_climbs_out_writes_nothing(bundle: Path, tmp_path: Path, name: str) -> None:
    message = refusal(pack(bundle, tmp_path / "toy.rsvl", text=name))
    assert "leaves the bundle" in message
    assert not Path("/tmp/text.onnx").exists()


@pytest.mark.parametrize("inside", [True, False])
def test_link_may_stay_inside_but_not_leave(bundle: Path, tmp_path: Path, inside: bool) -> None:
    target = (bundle / "engines" if inside else tmp_path) / "moved.onnx"
    target.parent.mkdir(exist_ok=True)
    (bundle / "head.onnx").rename(target)
    (bundle / "head.onnx").symlink_to(target)
    if inside:
        Bundle(bundle)
    else:
        assert "head.onnx" in refusal(bundle)


def test_folder_that_is_a_link_out_is_refused(bundle: Path, tmp_path: Path) -> None:
    (bundle / "golden").rename(tmp_path / "golden")
    (bundle / "golden").symlink_to(tmp_path / "golden")
    assert "golden" in refusal(bundle)


def test_compressed_archive_is_refused_before_it_swells(bundle: Path, tmp_path: Path) -> None:
    (bundle / "zeros.bin").write_bytes(bytes(1 << 20))
    packed = pack(bundle, tmp_path / "toy.rsvl", zipfile.ZIP_DEFLATED)
    assert "rsvl export --pack" in refusal(packed)


def test_archive_whose_entries_overlap_is_refused(bundle: Path, tmp_path: Path) -> None:
    packed = tmp_path / "toy.rsvl"
    with zipfile.ZipFile(pack(bundle, packed), "a") as archive:
        first = archive.infolist()[0]
        for copy in range(2000):
            twin = zipfile.ZipInfo(f"{copy}.bin")
            twin.header_offset, twin.CRC = first.header_offset, first.CRC
            twin.file_size = twin.compress_size = 10 * packed.stat().st_size
            archive.filelist.append(twin)
        archive._didModify = True
    assert "toy.rsvl" in refusal(packed)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archive_with_a_path_twice_is_refused(bundle: Path, tmp_path: Path) -> None:
    packed = pack(bundle, tmp_path / "toy.rsvl", text="head.onnx")
    assert "twice" in refusal(packed)


@pytest.mark.parametrize("size", [0, 10, 2000])
def test_truncated_archive_is_refused(bundle: Path, tmp_path: Path, size: int) -> None:
    packed = pack(bundle, tmp_path / "toy.rsvl")
    packed.write_bytes(packed.read_bytes()[:size])
    assert "toy.rsvl" in refusal(packed)


def test_newer_schema_asks_for_an_upgrade(bundle: Path) -> None:
    change_manifest(bundle, lambda data: data.update(schema=999, invented="later"))
    assert "999" in refusal(bundle) and "upgrade rsvl" in refusal(bundle)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000, '{"schema": 1}', '{"schema": "1"}', "\udcff"])
def test_manifest_that_is_none_is_refused(bundle: Path, text: str) -> None:
    (bundle / "manifest.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert "manifest" in refusal(bundle) or "schema" in refusal(bundle)


ILL_TYPED = {
    "files": lambda data: data.update(files=["head.onnx"]),
    "no threshold": lambda data: data["model"].pop("threshold"),
    "threshold": lambda data: data["model"].update(threshold="high"),
    "graphs": lambda data: data["model"].update(graphs=3),
    "size": lambda data: data["model"]["images"][0].update(size="big"),
    "no size": lambda data: data["model"]["images"][0].update(size=0),
    "mean": lambda data: data["model"]["images"][0].update(mean=[0.5]),
    "two images of a name": lambda data: data["model"].update(images=data["model"]["images"] * 2),
    "std": lambda data: data["model"]["images"][0].update(std=[0.2, 0.0, 0.2]),
    "tokens": lambda data: data["model"]["text"].update(tokens=None),
    "invented": lambda data: data.update(invented=1),
}


@pytest.mark.parametrize("change", ILL_TYPED.values(), ids=ILL_TYPED.keys())
def test_ill_typed_manifest_is_refused(bundle: Path, change: Callable[[dict], None]) -> None:
    change_manifest(bundle, change)
    assert "manifest.json is not a valid" in refusal(bundle)


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("nowhere", "empty"):
        assert name in refusal(tmp_path / name)
