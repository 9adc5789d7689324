"""Running a bundle by its engines: results, memory, CUDA graphs, sharing, and what happens when the GPU fails."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rsvl.runtime import loading
from rsvl.runtime.backends.cuda.memory import DeviceTensor
from rsvl.runtime.backends.session import Session, to_numpy
from rsvl.runtime.backends.tensorrt import BuildConfig, Range, build_engines, select
from rsvl.runtime.backends.tensorrt.session import TensorRTSession
from rsvl.runtime.backends.tensorrt.store import EngineStore
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.errors import BundleError, DeviceError, EngineError, InputError, MissingComponentError, OutputError
from tests.support.fake_gpu import ORIN, FakeArray, FakeDevice, FakeTensorRTApi
from tests.support.toy_bundle import COLOURS, SIZE, expected_logits

GRAPHS = ["image", "text", "head"]
NAMES = ("red", "green", "blue")
IMAGES = np.random.default_rng(3).random((5, 3, SIZE, SIZE), np.float32)
TOKENS = np.array([[7, 2 + i % 3, 8, 0, 0, 0, 0, 0] for i in range(5)])
EXPECTED = expected_logits(IMAGES, np.array([COLOURS[NAMES[i % 3]] for i in range(5)]))


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    """The GPU that is found."""
    device = FakeDevice()
    monkeypatch.setattr(select, "find_device", lambda: (device, ""))
    return device


@pytest.fixture
def api(device: FakeDevice, monkeypatch: pytest.MonkeyPatch) -> FakeTensorRTApi:
    """The TensorRT that is found."""
    api = FakeTensorRTApi(device)
    monkeypatch.setattr(select, "installed_tensorrts", lambda: (api,))
    monkeypatch.setattr(select, "find_tensorrt", lambda gpu: api)
    return api


@pytest.fixture
def built(bundle: Path, device: FakeDevice, api: FakeTensorRTApi) -> Path:
    """A bundle with engines for a batch of up to 2."""
    build_engines(Bundle(bundle), BuildConfig(api, device.gpu), {"batch": Range(1, 1, 2)})
    api.built.clear()
    return bundle


@pytest.fixture
def session(built: Path) -> Iterator[Session]:
    yield Session(Bundle(built))
    gc.collect()


def logits(session: Session, images: np.ndarray = IMAGES, tokens: np.ndarray = TOKENS) -> np.ndarray:
    return to_numpy(session.run({"image": images, "tokens": tokens}, GRAPHS)["mask_logits"])


@pytest.mark.parametrize("batch", [1, 2, 5])  # of 5, the engine for 2 takes three parts
def test_engines_give_what_the_graphs_give_at_every_batch(session: Session, batch: int) -> None:
    assert session.provider == "engines"
    found = logits(session, IMAGES[:batch], TOKENS[:batch])
    np.testing.assert_allclose(found, EXPECTED[:batch], atol=1e-4)


def test_results_outlive_further_runs(session: Session) -> None:
    kept = [session.run({"image": IMAGES[i : i + 1]}, ["image"])["pixels"] for i in range(4)]
    for i, tensor in enumerate(kept):
        np.testing.assert_array_equal(to_numpy(tensor), IMAGES[i : i + 1])


def test_features_stay_on_the_gpu_between_graphs(session: Session, device: FakeDevice) -> None:
    outputs = session.run({"image": IMAGES[:1], "tokens": TOKENS[:1]}, GRAPHS)
    assert all(isinstance(tensor, DeviceTensor) for tensor in outputs.values())
    assert device.copies == {"up": 2, "down": 0, "across": 0}


def test_memory_does_not_grow_with_the_number_of_runs(session: Session, device: FakeDevice) -> None:
    for _ in range(3):
        logits(session)
    blocks, pinned = set(device.blocks), len(device.pinned)
    for _ in range(5):
        logits(session)
    assert set(device.blocks) == blocks and len(device.pinned) == pinned


def test_closed_session_gives_all_memory_back(built: Path, device: FakeDevice) -> None:
    session = Session(Bundle(built))
    kept = session.run({"image": IMAGES[:1]}, ["image"])["pixels"]
    del session
    gc.collect()
    np.testing.assert_array_equal(to_numpy(kept), IMAGES[:1])
    del kept
    gc.collect()
    assert device.blocks == {} and device.pinned == []


def test_equal_runs_are_captured_once_and_then_launched(session: Session, device: FakeDevice) -> None:
    for i in range(6):
        found = logits(session, IMAGES[i % 5 : i % 5 + 1], TOKENS[i % 5 : i % 5 + 1])
        np.testing.assert_allclose(found, EXPECTED[i % 5 : i % 5 + 1], atol=1e-4)
    assert device.captured == len(GRAPHS) and device.launched == 4 * len(GRAPHS)


def test_tensorrt_that_captures_by_itself_is_left_alone(built: Path, device: FakeDevice, monkeypatch) -> None:
    monkeypatch.setattr(FakeTensorRTApi, "captures_graphs", True)
    session = Session(Bundle(built))
    for _ in range(4):
        np.testing.assert_allclose(logits(session, IMAGES[:2], TOKENS[:2]), EXPECTED[:2], atol=1e-4)
    assert device.captured == 0


def test_graph_that_cannot_be_captured_runs_without(session: Session, device: FakeDevice, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise DeviceError("cudaErrorStreamCaptureUnsupported")

    monkeypatch.setattr(device, "capture", refuse)
    for _ in range(4):
        np.testing.assert_allclose(logits(session, IMAGES[:1], TOKENS[:1]), EXPECTED[:1], atol=1e-4)
    assert device.launched == 0


@pytest.mark.parametrize(("offset", "copies"), [(0, 0), (4, 1)])  # TensorRT takes only addresses aligned to 256
def test_array_on_the_gpu_is_taken_without_a_copy(built: Path, device: FakeDevice, offset: int, copies: int) -> None:
    runner = loading.load(built)
    image = FakeArray(device, IMAGES[:1], offset)
    found = runner.run(image=image, tokens=TOKENS[:1])["mask_logits"]
    np.testing.assert_allclose(found, EXPECTED[:1], atol=1e-4)
    assert device.copies["up"] == 1 and device.copies["across"] == copies  # the tokens alone came from main memory


@pytest.mark.parametrize("array", [IMAGES[:1, :2], IMAGES[:1].astype(np.float64)])
def test_array_on_the_gpu_of_another_shape_or_type_is_refused(
    built: Path, device: FakeDevice, array: np.ndarray
) -> None:
    with pytest.raises(InputError, match=r"input image is float\d\d \[1, [23], 32, 32\]"):
        loading.load(built).run(image=FakeArray(device, array), tokens=TOKENS[:1])


def test_what_is_no_array_is_refused(session: Session) -> None:
    with pytest.raises(InputError, match="str is no array"):
        session.run({"image": "harbour.png"}, ["image"])


def test_array_of_another_type_is_refused(session: Session) -> None:
    with pytest.raises(InputError, match="image is float64: the engine takes float32"):
        session.run({"image": IMAGES[:1].astype(np.float64)}, ["image"])


def test_result_has_the_cuda_array_interface(session: Session, device: FakeDevice) -> None:
    facts = session.run({"image": IMAGES[:2]}, ["image"])["pixels"].__cuda_array_interface__
    assert (facts["shape"], facts["typestr"], facts["version"]) == (IMAGES[:2].shape, "<f4", 3)
    data = device.memory(facts["data"][0], IMAGES[:2].nbytes)
    np.testing.assert_array_equal(data.view(np.float32).reshape(IMAGES[:2].shape), IMAGES[:2])


def test_sessions_share_loaded_engines_and_nothing_else(built: Path, api: FakeTensorRTApi) -> None:
    first, second = Session(Bundle(built)), Session(Bundle(built))
    assert api.loaded == len(GRAPHS)
    kept = first.run({"image": IMAGES[:1]}, ["image"])["pixels"]
    second.run({"image": IMAGES[1:2]}, ["image"])
    np.testing.assert_array_equal(to_numpy(kept), IMAGES[:1])


def test_bundle_without_engines_does_not_build_any_unasked(bundle: Path, api: FakeTensorRTApi) -> None:
    assert Session(Bundle(bundle), threads=1).provider == "cpu" and api.built == []


def test_forced_engines_are_built_and_the_user_is_told(bundle: Path, api: FakeTensorRTApi) -> None:
    with pytest.warns(UserWarning, match="building the engine of text: there is none yet"):
        session = Session(Bundle(bundle), "engines")
    assert api.built == ["image.onnx", "text.onnx", "head.onnx"]
    assert api.timings == [b"", b"timings", b"timings"]
    np.testing.assert_allclose(logits(session), EXPECTED, atol=1e-4)


CHANGES = {
    "another GPU": (replace(ORIN, name="H200", capability=(9, 0)), "10.3.0", r"built for Orin \(sm_87\), here is H200"),
    "another driver": (replace(ORIN, driver="13.0"), "10.3.0", "built under driver 12.6, here is 13.0"),
    "another version": (ORIN, "10.9.0", "built with tensorrt 10.3.0, here is 10.9.0"),
}


@pytest.mark.parametrize(("gpu", "version", "why"), CHANGES.values(), ids=CHANGES.keys())
def test_engine_of_another_machine_is_built_again_with_a_line_that_says_why(
    built: Path, device: FakeDevice, api: FakeTensorRTApi, gpu: object, version: str, why: str
) -> None:
    device.gpu, api.version = gpu, version
    with pytest.warns(UserWarning, match=f"building the engine of image: .*{why}") as told:
        session = Session(Bundle(built))
    assert len(told) == len(api.built) == len(GRAPHS) and "\n" not in str(told[0].message)
    np.testing.assert_allclose(logits(session), EXPECTED, atol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Session(Bundle(built))
    assert session._backend._graphs["head"]._engine.max_batch == 2  # type: ignore[union-attr]  # as it was before


DAMAGES = {
    "cut short": (lambda data: data[:-100], "was cut short"),
    "changed": (lambda data: data[:50] + b"\0" + data[51:], "has changed since it was built"),
    "empty": (lambda data: b"", "was cut short"),
}


@pytest.mark.parametrize(("damage", "why"), DAMAGES.values(), ids=DAMAGES.keys())
def test_damaged_engine_is_never_loaded(built: Path, api: FakeTensorRTApi, damage, why: str) -> None:
    (path,) = (built / "engines").glob("head-*.engine")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match=why):
        session = Session(Bundle(built))
    assert api.built == ["head.onnx"]
    np.testing.assert_allclose(logits(session), EXPECTED, atol=1e-4)


def test_engine_that_tensorrt_refuses_is_built_again(built: Path, api: FakeTensorRTApi) -> None:
    api.refuses = "unsupported cc"
    with pytest.warns(UserWarning, match="building the engine of image: unsupported cc"):
        session = Session(Bundle(built))
    assert api.built == ["image.onnx"]
    np.testing.assert_allclose(logits(session), EXPECTED, atol=1e-4)


def test_engine_of_another_graph_under_this_ones_name_is_refused(
    built: Path, api: FakeTensorRTApi, monkeypatch
) -> None:
    load = api.load
    other = next((built / "engines").glob("text-*.engine")).read_bytes()
    monkeypatch.setattr(api, "load", lambda engine: load(other))
    with pytest.raises(BundleError, match="the engine of image has no image as the manifest declares it"):
        Session(Bundle(built))


def test_engine_whose_plugin_is_missing_says_so(bundle: Path, device: FakeDevice, api: FakeTensorRTApi) -> None:
    build_engines(Bundle(bundle), BuildConfig(api, device.gpu, plugins=("RotatedConv2d",)))
    with pytest.raises(MissingComponentError, match="RotatedConv2d"):
        Session(Bundle(bundle), "engines")
    with pytest.warns(UserWarning, match="falling back from TensorRT engines: no TensorRT plugin"):
        assert Session(Bundle(bundle), threads=1).provider == "cpu"


def test_engines_that_do_not_start_give_way_with_a_warning(built: Path, api: FakeTensorRTApi, monkeypatch) -> None:
    def refuse(engine: bytes) -> None:
        raise EngineError("no kernel image")

    monkeypatch.setattr(api, "load", refuse)
    with pytest.warns(UserWarning, match="falling back from TensorRT engines: graph image: no kernel image"):
        assert Session(Bundle(built), threads=1).provider == "cpu"
    with pytest.warns(UserWarning), pytest.raises(EngineError, match="no kernel image"):
        Session(Bundle(built), "engines")
    assert Session(Bundle(built), threads=1).provider == "cpu"  # what cannot be loaded is not tried again unasked


def test_gpu_out_of_memory_says_what_to_do_and_idle_memory_is_given_up_first(
    session: Session, device: FakeDevice
) -> None:
    logits(session)
    held = sum(block.size for block in device.blocks.values())
    device.limit = held  # a batch of 3 needs blocks of another size: idle ones must go
    np.testing.assert_allclose(logits(session, IMAGES[:3], TOKENS[:3]), EXPECTED[:3], atol=1e-4)
    device.limit = 0
    with pytest.raises(DeviceError, match=r"graph image failed on engines: the GPU is out of memory .*smaller batch"):
        logits(session, np.repeat(IMAGES, 3, axis=0), np.repeat(TOKENS, 3, axis=0))
    device.limit = 1 << 30
    np.testing.assert_allclose(logits(session), EXPECTED, atol=1e-4)


def test_gpu_that_disappears_is_one_line_with_a_remedy(session: Session, device: FakeDevice) -> None:
    kept = session.run({"image": IMAGES[:1]}, ["image"])
    device.gone = True
    with pytest.raises(
        DeviceError, match=r"the GPU stopped answering .*load the bundle again.*--provider cpu"
    ) as caught:
        logits(session)
    assert "\n" not in str(caught.value)
    with pytest.raises(DeviceError, match="stopped answering"):
        to_numpy(kept["pixels"])


@pytest.mark.parametrize("missing", ["gpu", "library"])
def test_forced_engines_name_what_is_missing(bundle: Path, device: FakeDevice, monkeypatch, missing: str) -> None:
    monkeypatch.setattr(select, "installed_tensorrts", lambda: ())
    if missing == "gpu":
        monkeypatch.setattr(select, "find_device", lambda: (None, "no NVIDIA GPU is visible"))
    with pytest.raises(MissingComponentError, match="no NVIDIA GPU" if missing == "gpu" else r"rsvl\[tensorrt\]"):
        Session(Bundle(bundle), "engines")


def test_kernels_compiled_for_this_gpu_are_kept_for_the_next_session(built: Path) -> None:
    first = Session(Bundle(built))
    logits(first, IMAGES[:1], TOKENS[:1])
    Session(Bundle(built))
    assert isinstance(first._backend, TensorRTSession)
    assert [graph._engine.caches for graph in first._backend._graphs.values()] == [[b"", b"compiled"]] * len(GRAPHS)


def test_bundle_that_cannot_be_written_runs_all_the_same(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OutputError("read-only")

    monkeypatch.setattr(EngineStore, "write_cache", refuse)
    np.testing.assert_allclose(logits(session), EXPECTED, atol=1e-4)
