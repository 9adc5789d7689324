"""The runtime stays light: a fresh process that imports and uses it has loaded nothing of the PyTorch side."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.installed import needs

HEAVY = ("torch", "onnx", "transformers", "onnxscript", "accelerate", "cv2", "scipy", "safetensors")
REPORT = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"


def loaded_modules(program: str) -> set[str]:
    result = subprocess.run([sys.executable, "-c", f"{program}\n{REPORT}"], capture_output=True, text=True, check=True)
    return set(json.loads(result.stdout.splitlines()[-1]))


def test_import_loads_nothing_heavy() -> None:
    assert loaded_modules("import rsvl.runtime").isdisjoint({*HEAVY, "onnxruntime", "rasterio"})


def test_command_loads_no_web_server() -> None:
    server = {"fastapi", "starlette", "uvicorn", "pydantic", "prometheus_client", "multiprocessing"}
    assert loaded_modules("import rsvl.cli").isdisjoint({*HEAVY, *server})


@pytest.mark.parametrize("suffix", ["png", pytest.param("tif", marks=needs("rasterio")), "json"])
def test_segmenting_and_saving_load_nothing_heavy(whole_bundle: Path, tmp_path: Path, suffix: str) -> None:
    program = f"""
import numpy as np
import rsvl.runtime
image = np.zeros((40, 40, 3), np.uint8)
image[8:20, 8:20] = (255, 0, 0)
found = rsvl.runtime.load({str(whole_bundle)!r}, threads=1).segment(image, "red")
assert found.found and found.polygon is not None and found.oriented_box is not None
found.save({str(tmp_path / f"out.{suffix}")!r})
"""
    loaded = loaded_modules(program)
    assert loaded.isdisjoint(HEAVY)
    assert "onnxruntime" in loaded


def test_building_engines_loads_nothing_heavy(bundle: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed: pip install 'rsvl[tensorrt-rtx]'")
    program = f"""
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.backends.tensorrt import BuildConfig, build_engines, find_tensorrt
assert len(build_engines(Bundle({str(bundle)!r}), BuildConfig(find_tensorrt("tensorrt_rtx")))) == 3
"""
    assert loaded_modules(program).isdisjoint(HEAVY)


def test_check_and_doctor_load_nothing_heavy(whole_bundle: Path) -> None:
    program = f"""
from rsvl.runtime.check import check
from rsvl.runtime.doctor import examine
assert check({str(whole_bundle)!r}).passed and examine()
"""
    assert loaded_modules(program).isdisjoint(HEAVY)
