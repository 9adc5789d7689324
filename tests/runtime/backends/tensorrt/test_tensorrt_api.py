"""TensorRT for RTX builds engines without a GPU; what the adapter promises of each library."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from types import SimpleNamespace

import pytest

from rsvl.runtime.backends.tensorrt import BuildConfig, build_engines, detect, find_tensorrt
from rsvl.runtime.backends.tensorrt import tensorrt_api as adapter
from rsvl.runtime.backends.tensorrt.profiles import batch_range, profile
from rsvl.runtime.backends.tensorrt.tensorrt_api import RTX, TensorRTApi
from rsvl.runtime.backends.tensorrt.trt_errors import build_failure, run_failure
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.errors import DeviceError, EngineError, MissingComponentError, UsageError
from tests.support.fake_gpu import ORIN
from tests.support.toy_bundle import SPLIT

#: Those that only the full TensorRT is asked for.
FULL_ONLY = {"STRONGLY_TYPED"}


@pytest.fixture(scope="module")
def rtx() -> TensorRTApi:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed: pip install 'rsvl[tensorrt-rtx]'")
    return find_tensorrt(RTX)


def full(version: str = "10.3.0") -> TensorRTApi:
    return TensorRTApi(SimpleNamespace(__name__="tensorrt", __version__=version))  # type: ignore[arg-type]


def test_engines_are_built_once_and_kept(rtx: TensorRTApi, bundle: Path) -> None:
    calls: list[tuple[float, float, str]] = []
    config, ranges = BuildConfig(rtx), {"batch": batch_range(2)}
    built = build_engines(
        Bundle(bundle),
        config,
        ranges,
        progress=lambda done, total, stage="", detail="": calls.append((done, total, stage)),
    )
    assert [each.engine.key.graph for each in built] == ["image", "text", "head"]
    assert all(each.engine.size > 10_000 and each.engine.layers and not each.reused for each in built)
    done = [done for done, _, _ in calls]
    assert done == sorted(done) and done[-1] == calls[-1][1] == 3
    stages = [stage for _, _, stage in calls if stage]
    assert stages == [f"building {name} with tensorrt_rtx" for name in ("image", "text", "head")]
    again = build_engines(Bundle(bundle), config, ranges)
    assert all(each.reused for each in again) and [e.engine for e in again] == [e.engine for e in built]
    damaged = built[0].engine.path
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert [each.reused for each in build_engines(Bundle(bundle), config, ranges)] == [False, True, True]


def test_graph_that_the_parser_cannot_take_is_one_line(rtx: TensorRTApi, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no protobuf")
    with pytest.raises(EngineError, match=r"bad\.onnx: tensorrt_rtx cannot parse it") as caught:
        rtx.build(tmp_path / "bad.onnx", {})
    assert "\n" not in str(caught.value)


def test_interrupt_ends_the_build(rtx: TensorRTApi, whole_bundle: Path) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rtx.build(whole_bundle / "text.onnx", profile(SPLIT[1], {"batch": batch_range()}), progress=interrupt)


def test_engine_is_refused_where_no_gpu_can_run_it(rtx: TensorRTApi, whole_bundle: Path) -> None:
    engine = rtx.build(whole_bundle / "image.onnx", profile(SPLIT[0], {"batch": batch_range()}))
    from rsvl.runtime.backends.cuda.cuda_device import find_device

    if find_device()[0] is not None:
        pytest.skip("here is a GPU that can")
    with pytest.raises(EngineError, match=r"tensorrt_rtx .* refuses the engine"):
        rtx.load(engine.engine)


def test_rtx_engines_travel_and_full_ones_are_the_machines_own(rtx: TensorRTApi) -> None:
    assert (rtx.builder(ORIN).gpu, rtx.builder(None, "sm_86").gpu) == ("any", "sm_86")
    assert [builder.gpu for builder in rtx.runs_here(ORIN)] == ["any"]  # it has no sm_87
    builder = full().builder(ORIN)
    assert (builder.gpu, builder.driver, full().runs_here(ORIN)) == ("Orin (sm_87)", "12.6", [builder])


def test_architecture_that_rtx_does_not_know_lists_those_it_knows(rtx: TensorRTApi) -> None:
    with pytest.raises(UsageError, match=r"does not know sm_90: choose any, .*sm_86"):
        rtx.builder(None, "sm_90")


def test_full_tensorrt_without_a_gpu_says_where_to_build() -> None:
    with pytest.raises(EngineError, match="--target"):
        full().builder(None)


def test_tensorrt_that_is_too_old_is_refused() -> None:
    with pytest.raises(MissingComponentError, match="10 or newer"):
        full("8.6.1")


@pytest.mark.parametrize(
    ("gpu", "backend", "expected"), [(None, None, RTX), (ORIN, None, "tensorrt"), (None, "tensorrt", "tensorrt")]
)
def test_full_tensorrt_is_taken_where_it_can_build(monkeypatch, gpu, backend: str | None, expected: str) -> None:
    libraries = (full(), TensorRTApi(SimpleNamespace(__name__=RTX, __version__="1.7")))  # type: ignore[arg-type]
    monkeypatch.setattr(detect, "installed_tensorrts", lambda: libraries)
    assert find_tensorrt(backend, gpu).backend == expected


def test_missing_tensorrt_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect, "installed_tensorrts", lambda: ())
    with pytest.raises(MissingComponentError, match=r"pip install 'rsvl\[tensorrt\]'"):
        find_tensorrt()


def test_rtx_runs_no_plugins(rtx: TensorRTApi, whole_bundle: Path) -> None:
    with pytest.raises(MissingComponentError, match="runs no plugins"):
        rtx.build(whole_bundle / "head.onnx", {}, plugins=("RotatedConv2d",))


@pytest.mark.parametrize(
    "reason",
    [
        "Error Code 2: OutOfMemory (Requested size was 9 GB)",
        "Insufficient memory for",
        "NvMapMemAllocInternalTagged: 1075072515 error 12",
    ],
)
def test_memory_that_runs_out_while_building_names_a_smaller_batch(reason: str) -> None:
    assert "--max-batch" in str(build_failure("head.onnx", [reason]))


def test_builder_without_code_for_the_gpu_is_named() -> None:
    reason = "Error Code 1: Cuda Runtime (no kernel image is available for execution on the device)"
    assert "JetPack's own TensorRT" in str(build_failure("head.onnx", [reason]))


@pytest.mark.parametrize(
    ("reason", "kind", "says"),
    [
        ("Error Code 2: OutOfMemory", DeviceError, "--tile"),
        ("Error Code 1: Cuda Runtime (unspecified launch failure)", DeviceError, "--provider cpu"),
        ("Error Code 1: Cuda Runtime (no kernel image is available for execution)", DeviceError, "JetPack's own"),
        ("NvMapMemAllocInternalTagged: 1075072515 error 12", DeviceError, "--tile"),
        ("Error Code 3: API Usage Error", EngineError, "--rebuild"),
    ],
)
def test_run_that_does_not_start_says_what_to_do(reason: str, kind: type[Exception], says: str) -> None:
    error = run_failure([reason])
    assert type(error) is kind and says in str(error)


def test_every_name_that_the_adapter_uses_is_in_the_bindings(rtx: TensorRTApi) -> None:
    module = rtx._trt
    nodes = [node for node in ast.walk(ast.parse(inspect.getsource(adapter))) if isinstance(node, ast.Attribute)]
    words = {name.split("_trt.", 1)[1] for name in map(ast.unparse, nodes) if name.startswith("self._trt.")}
    assert len(words) > 10
    for word in words - {f"NetworkDefinitionCreationFlag.{name}" for name in FULL_ONLY}:
        found = module
        for part in word.partition("(")[0].split("."):
            assert hasattr(found, part), word
            found = getattr(found, part)
