"""The script for a device does what it says, with rsvl there and without."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from rsvl.runtime.backends.tensorrt import TARGETS, Range, write_device_script
from rsvl.runtime.bundle import Bundle

RANGES = {"batch": Range(1, 2, 4)}
#: Stand-ins for the device's programs: each notes how it was called; trtexec writes the engine too.
NOTE = '#!/bin/sh\necho "$(basename "$0") $*" >> "$CALLS"\n'
SAVE = 'for word in "$@"; do case "$word" in --saveEngine=*) : > "${word#--saveEngine=}";; esac; done\n'


def calls(bundle: Path, folder: Path, *programs: str) -> list[str]:
    """Runs the script with only these programs beside the system's own, and returns how they were called."""
    script, notes = write_device_script(Bundle(bundle), TARGETS["jetson-orin"], RANGES, workspace=512)
    assert "Orin" in notes.read_text()
    folder.mkdir()
    for name in ("sudo", *programs):
        (folder / name).write_text(NOTE + (SAVE if name == "trtexec" else ""))
        (folder / name).chmod(0o755)
    environment = {"PATH": f"{folder}:/usr/bin:/bin", "CALLS": str(folder / "calls")}
    subprocess.run(["sh", script], env=environment, cwd="/", check=True, capture_output=True)
    return (folder / "calls").read_text().splitlines()[2:]


def test_script_calls_rsvl_where_it_is(bundle: Path, tmp_path: Path) -> None:
    assert calls(bundle, tmp_path / "bin", "rsvl", "trtexec") == [
        "rsvl engine . --max-batch 4 --opt-batch 2 --workspace 512",
        "rsvl check . --provider engines",
    ]


def test_script_builds_every_graph_with_trtexec_where_rsvl_is_not(bundle: Path, tmp_path: Path) -> None:
    lines = calls(bundle, tmp_path / "bin", "trtexec")
    assert [line.split()[1] for line in lines] == ["--onnx=image.onnx", "--onnx=text.onnx", "--onnx=head.onnx"]
    words = lines[2].split()
    assert {"--stronglyTyped", "--memPoolSize=workspace:512M"} <= set(words)
    assert [word for word in words if "Shapes" in word] == [
        "--minShapes=pixels:1x3x32x32,colour:1x3",
        "--optShapes=pixels:2x3x32x32,colour:2x3",
        "--maxShapes=pixels:4x3x32x32,colour:4x3",
    ]
    assert {path.name for path in (bundle / "engines/trtexec").glob("*.engine")} == {
        "image.engine",
        "text.engine",
        "head.engine",
    }


def test_bundle_with_a_script_is_still_whole(bundle: Path) -> None:
    write_device_script(Bundle(bundle), TARGETS["server"], RANGES)
    Bundle(bundle)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
def test_every_target_says_its_tensorrt(bundle: Path, target) -> None:
    script, notes = write_device_script(Bundle(bundle), target, RANGES)
    subprocess.run(["sh", "-n", script], check=True)
    assert target.tensorrt in notes.read_text() and target.title in script.read_text()
