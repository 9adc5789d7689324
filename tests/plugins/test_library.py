"""The C++ library: built with TensorRT's headers, loaded and asked for its plugins by library_check.cpp; no GPU."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "plugins/library"


@pytest.fixture
def headers() -> Path:
    """TensorRT's, which are no package and not ours to ship."""
    root = os.environ.get("TENSORRT_ROOT")
    if root is None:
        pytest.skip("TENSORRT_ROOT does not name a folder with TensorRT's include/")
    missing = [tool for tool in ("cmake", "nvcc") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"no {', '.join(missing)} to build the library with")
    return Path(root) / "include"


def test_library_builds_and_answers_as_tensorrt_asks(headers: Path, tmp_path: Path) -> None:
    options = [f"-DTENSORRT_ROOT={headers.parent}", "-DRSVL_ARCHITECTURES=87"]
    subprocess.run(["cmake", "-S", SOURCE, "-B", tmp_path, *options], check=True)
    subprocess.run(["cmake", "--build", tmp_path], check=True)
    check = tmp_path / "check"
    command = [
        "nvcc",
        "-std=c++17",
        f"-I{headers}",
        "-o",
        check,
        HERE / "library_check.cpp",
        "-ldl",
    ]  # has CUDA's headers
    subprocess.run(command, check=True)
    subprocess.run([check, tmp_path / "librsvl_plugins.so"], check=True)
