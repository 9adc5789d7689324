"""`rsvl watch`: the results of `rsvl run`, for scenes that arrive, however often it is killed."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.installed import needs
from tests.support.outcome import Rsvl
from tests.support.rasters import write_raster
from tests.support.toy_bundle import write_bundle

FAST = ("--settle", "0", "--poll", "0.02", "--json-lines")


@pytest.fixture
def arriving(tmp_path: Path) -> Path:
    """A folder with two pictures, each with a red square."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in (1, 2):
        pixels = np.full((32, 32, 3), 128, np.uint8)
        pixels[5:15, 10 * number : 10 * number + 8] = (255, 0, 0)
        Image.fromarray(pixels).save(folder / f"scene-{number}.png")
    return folder


def events(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def named(out: str, event: str) -> list[dict[str, Any]]:
    return [each for each in events(out) if each["event"] == event]


def test_arrived_scenes_are_answered_scrubbed_and_sent_down(
    rsvl: Rsvl, bundle: Path, arriving: Path, tmp_path: Path
) -> None:
    (arriving / "scene-3.png").write_bytes(b"no picture at all")
    arguments = ("watch", arriving, bundle, "-t", "red", "-t", "blue", "-o", tmp_path / "o", "--once", *FAST)
    found = rsvl(*arguments, "--scrub", "0", "--downlink", "2k", "--tries", "2")
    assert found.code == 1 and "scene-3.png" in found.err
    done = named(found.out, "done")
    assert [(each["scene"], [one["count"] for one in each["found"]]) for each in done] == [
        ("scene-1.png", [1, 0]),
        ("scene-2.png", [1, 0]),
    ]
    assert done[-1]["processes"] == 1 and done[-1]["worker_memory_mb"] > 0
    (aside,) = named(found.out, "set aside")
    assert aside["scene"] == "scene-3.png" and "scene-3.png" in aside["reason"]
    package = json.loads(gzip.decompress((tmp_path / "o" / "downlink" / "scene-1.geojson.gz").read_bytes()))
    assert [each["properties"]["t"] for each in package["features"]] == ["red"]
    rsvl("run", bundle, arriving / "scene-1.png", "-t", "red", "-t", "blue", "-o", tmp_path / "run", "--geojson")
    for path in (tmp_path / "run").iterdir():
        assert (tmp_path / "o" / path.name).read_bytes() == path.read_bytes()
    again = rsvl(*arguments)
    assert [each["event"] for each in events(again.out)] == ["ready"]


def test_damaged_bundle_is_mended_from_the_spare_copy(rsvl: Rsvl, arriving: Path, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "own.bundle")
    spare = shutil.copytree(bundle, tmp_path / "spare.bundle")
    data = bytearray((bundle / "head.onnx").read_bytes())
    data[40] ^= 4
    (bundle / "head.onnx").write_bytes(data)
    arguments = ("watch", arriving, bundle, "-t", "red", "-o", tmp_path / "o", "--once", *FAST)
    refused = rsvl(*arguments)
    assert refused.code == 1 and "head.onnx has changed" in refused.error
    found = rsvl(*arguments, "--spare", spare)
    assert found.code == 0 and len(named(found.out, "done")) == 2
    assert (bundle / "head.onnx").read_bytes() == (spare / "head.onnx").read_bytes()


@needs("rasterio")
def test_killed_watch_goes_on_with_the_parts_and_ends_with_the_same_bytes(
    rsvl: Rsvl, bundle: Path, tmp_path: Path
) -> None:
    """The process that works is killed in a scene of several blocks; the parts that are there are not done again."""
    (tmp_path / "in").mkdir()
    pixels = np.full((2300, 2300, 3), 128, np.uint8)
    pixels[1900:2100], pixels[:, 1900:2100] = (255, 0, 0), (255, 0, 0)
    scene = write_raster(tmp_path / "in" / "large.tif", pixels, "EPSG:32618", compress="deflate")
    options = ("-t", "red", "--tile", "500")
    command = [sys.executable, "-m", "rsvl", "watch", tmp_path / "in", bundle, *options, "-o", tmp_path / "o", *FAST]
    watch = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    parts = tmp_path / "o" / "watch" / "pending" / "large" / "large.parts"
    while not list(parts.glob("part-*.npz")) and watch.poll() is None:
        time.sleep(0.01)
    begun = time.monotonic()
    watch.send_signal(signal.SIGTERM)
    watch.communicate()
    assert watch.returncode == 143 and time.monotonic() - begun < 60
    kept = {path: path.stat().st_mtime_ns for path in parts.glob("part-*.npz")}
    assert kept and json.loads((tmp_path / "o" / "watch" / "records" / "large.json").read_text())["attempts"] == 0
    found = rsvl("watch", tmp_path / "in", bundle, *options, "-o", tmp_path / "o", "--once", *FAST)
    assert found.code == 0 and len(named(found.out, "done")) == 1
    rsvl("run", bundle, scene, *options, "-o", tmp_path / "run")
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "o").iterdir() if path.is_file())
    for name in names:
        assert (tmp_path / "o" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("NOWHERE", "BUNDLE", "-t", "red"), 2, "no such folder to watch"),
        (("IN", "BUNDLE", "-t", "red", "-o", "IN"), 2, "cannot lie among the scenes"),
        (("IN", "BUNDLE", "-t", "red", "-o", "OUT", "--priority", "coast*"), 2, "write PATTERN=N"),
        (("IN", "BUNDLE", "-t", "red", "-o", "OUT", "--priority", "coast*=-1"), 2, "write PATTERN=N"),
        (("IN", "BUNDLE", "-t", "red", "-o", "OUT", "--downlink", "lots"), 2, "--downlink takes bytes"),
        (("IN", "BUNDLE", "-t", "red", "-o", "OUT", "--period", "60"), 2, "give both"),
        (("IN", "BUNDLE", "-t", "red", "-o", "OUT", "--spare", "A", "--spare", "B"), 2, "one for each"),
        (("IN", "NOWHERE", "-t", "red", "-o", "OUT", "--once"), 1, "no such bundle"),
        (("IN",), 2, "BUNDLE"),
    ],
)
def test_wrong_usage_is_one_line(
    rsvl: Rsvl, bundle: Path, arriving: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    places = {"IN": arriving, "BUNDLE": bundle, "OUT": tmp_path / "o", "NOWHERE": tmp_path / "nowhere"}
    found = rsvl("watch", *(places.get(argument, argument) for argument in arguments))
    assert found.code == code and says in found.error


def test_second_watch_of_the_same_results_is_refused(rsvl: Rsvl, bundle: Path, arriving: Path, tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    (tmp_path / "o" / "watch").mkdir(parents=True)
    handle = os.open(tmp_path / "o" / "watch", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    found = rsvl("watch", arriving, bundle, "-t", "red", "-o", tmp_path / "o", "--once")
    os.close(handle)
    assert found.code == 1 and "another process uses it" in found.error
