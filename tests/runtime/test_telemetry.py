"""ONNX Runtime's telemetry stays off: running a bundle writes nothing below HOME and opens no socket."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_RUN = """
import os, sys, numpy, rsvl.runtime
segmenter = rsvl.runtime.load(sys.argv[1], "cpu", 1)
raw = segmenter.spec.raw_inputs.items()
segmenter.run(**{name: numpy.zeros([1, *tensor.shape[1:]], tensor.dtype) for name, tensor in raw})
for fd in os.listdir("/proc/self/fd"):
    try:
        target = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        continue
    if target.startswith("socket:"):
        sys.exit(f"socket {fd}")
"""


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are listed on Linux only")
def test_running_a_bundle_writes_no_file_and_opens_no_socket(whole_bundle: Path, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME"):
        (tmp_path / name).mkdir()
        environment[name] = str(tmp_path / name)
    done = subprocess.run(
        [sys.executable, "-c", _RUN, str(whole_bundle)],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_user_may_turn_telemetry_on() -> None:
    code = "import os, rsvl; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "0"}
    shown = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout == "0\n"
