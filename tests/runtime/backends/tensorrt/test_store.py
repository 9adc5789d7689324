"""What makes an engine another engine, and that its file and its note belong together."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rsvl.runtime.backends.tensorrt.keys import Builder, EngineKey, file_stem, source_hash
from rsvl.runtime.backends.tensorrt.store import EngineStore, StoredEngine
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.errors import BundleError
from rsvl.runtime.manifest import Manifest
from tests.support.toy_bundle import SPLIT, toy_spec, write_manifest

GRAPH = SPLIT[1]
BUILDER = Builder("tensorrt", "10.3.0", "Orin (sm_87)", "12.6")
SHAPES = {"tokens": ((1, 8), (1, 8), (4, 8))}


def write(bundle: Path, **changes: Any) -> StoredEngine:
    opened = Bundle(bundle)
    key = EngineKey(BUILDER, GRAPH.name, "fp32", source_hash(opened, GRAPH), SHAPES)
    return EngineStore(opened).write(replace(key, **changes), b"an engine", layers=4, seconds=1.5)


def test_engine_is_found_again_with_all_that_was_noted(bundle: Path) -> None:
    stored = write(bundle)
    found = EngineStore(Bundle(bundle)).find(GRAPH, BUILDER).engine
    assert found == stored and found.read() == b"an engine"


@pytest.mark.parametrize("change", ["backend", "version", "gpu", "driver"])
def test_engine_of_another_builder_is_not_found_and_the_difference_is_named(bundle: Path, change: str) -> None:
    write(bundle)
    other = replace(BUILDER, **{change: "another"})
    found = EngineStore(Bundle(bundle)).find(GRAPH, other)
    assert found.engine is None and getattr(BUILDER, change) in found.why and "here is another" in found.why


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [("source", "0" * 64, "the graph has changed"), ("precision", "fp16", "the precision was fp16, now fp32")],
)
def test_engine_of_another_graph_or_precision_is_not_found(bundle: Path, field: str, value: str, why: str) -> None:
    write(bundle, **{field: value})
    found = EngineStore(Bundle(bundle)).find(GRAPH, BUILDER)
    assert (found.engine, found.why) == (None, why)


def test_every_part_of_the_key_gives_another_file(bundle: Path) -> None:
    key = write(bundle).key
    parts = {"graph": "head", "precision": "fp16", "source": "0", "profile": {}, "plugins": ("RotatedConv2d",)}
    others = [replace(key, **{name: value}) for name, value in parts.items()]
    others += [
        replace(key, builder=replace(BUILDER, **{name: "x"})) for name in ("backend", "version", "gpu", "driver")
    ]
    assert len({key.file, *(other.file for other in others)}) == 10


def test_external_weights_are_part_of_the_source(bundle: Path) -> None:
    before = source_hash(Bundle(bundle), GRAPH)
    (bundle / "text.onnx.data").write_bytes(b"weights")
    write_manifest(bundle, Manifest(toy_spec(), "fp32"))
    assert source_hash(Bundle(bundle), GRAPH) != before


NOTES: dict[str, Callable[[Path], Any]] = {
    "missing": lambda note: note.unlink(),
    "no JSON": lambda note: note.write_text("{"),
    "another's": lambda note: note.write_text(note.read_text().replace('"10.3.0"', '"10.4.0"')),
    "of a list": lambda note: note.write_text("[]"),
    "without profile": lambda note: note.write_text(note.read_text().replace('"profile"', '"profiles"')),
    "deep": lambda note: note.write_text("[" * 100_000),
}


@pytest.mark.parametrize("damage", NOTES.values(), ids=NOTES.keys())
def test_engine_without_its_note_is_no_engine(bundle: Path, damage: Callable[[Path], Any]) -> None:
    damage(write(bundle).path.with_suffix(".json"))
    store = EngineStore(Bundle(bundle))
    assert store.stored(GRAPH) == [] and store.find(GRAPH, BUILDER).engine is None


def test_engine_that_changes_after_it_was_found_is_not_read(bundle: Path) -> None:
    stored = write(bundle)
    stored.path.write_bytes(b"AN ENGINE")
    with pytest.raises(BundleError, match="has changed since it was built"):
        stored.read()


def test_engines_folder_that_leaves_the_bundle_is_refused(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (bundle / "engines").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="must be a folder of the bundle"):
        EngineStore(Bundle(bundle))


def test_graphs_name_cannot_lead_out_of_the_folder() -> None:
    assert file_stem("../../etc/*") == "______etc__"


def test_note_that_is_a_pipe_or_a_link_is_not_read(bundle: Path) -> None:
    folder = bundle / "engines"
    folder.mkdir()
    for stem in ("image-a", "image-b"):
        (folder / f"{stem}.engine").write_bytes(b"engine")
    os.mkfifo(folder / "image-a.json")
    (folder / "image-b.json").symlink_to("/dev/zero")
    assert EngineStore(Bundle(bundle)).stored(toy_spec().graphs[0]) == []
