"""A bundle's graphs on ONNX Runtime: choosing the provider, loading, running, and what can be wrong."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rsvl.runtime.backends.onnxruntime import session as backend
from rsvl.runtime.backends.onnxruntime.providers import PROVIDERS, Provider, onnxruntime, present_providers
from rsvl.runtime.backends.session import Session, to_numpy
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.errors import BundleError, MissingComponentError, RsvlError
from rsvl.runtime.manifest import Manifest, TensorSpec
from tests.support.toy_bundle import COLOURS, FUSED, SIZE, expected_logits, toy_spec, write_bundle, write_manifest

IMAGES = np.random.default_rng(3).random((2, 3, SIZE, SIZE), np.float32)
TOKENS = np.array([[7, 2, 8, 0, 0, 0, 0, 0], [7, 3, 8, 0, 0, 0, 0, 0]])
EXPECTED = expected_logits(IMAGES, np.array([COLOURS["red"], COLOURS["green"]]))


@pytest.mark.parametrize("name", [None, "cpu", "CPU", "CPUExecutionProvider"])
def test_cpu_is_found_by_each_of_its_names(whole_bundle: Path, name: str | None) -> None:
    assert Session(Bundle(whole_bundle), name, threads=1).provider == "cpu"


@pytest.mark.parametrize("name", ["tensorrt", "migraphx", "directml"])
def test_absent_provider_says_what_installs_it(whole_bundle: Path, name: str) -> None:
    if name in [p.name for p in present_providers()]:
        pytest.skip("this machine has it")
    with pytest.raises(MissingComponentError, match=r"pip install onnxruntime-"):
        Session(Bundle(whole_bundle), name)


def test_preferred_provider_that_does_not_start_gives_way(whole_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda, cpu = (provider for provider in PROVIDERS if provider.name in ("cuda", "cpu"))
    tried = []
    start = backend.start

    def failing_start(path: Path, options: object, provider: Provider, *rest: Any) -> object:
        tried.append(provider.name)
        if provider is cuda:
            raise RuntimeError("libcudart is not here")
        return start(path, options, provider, *rest)

    monkeypatch.setattr(backend, "present_providers", lambda: [cuda, cpu])
    monkeypatch.setattr(backend, "start", failing_start)
    assert Session(Bundle(whole_bundle)).provider == "cpu"
    assert tried == ["cuda", "cpu", "cpu", "cpu"]
    monkeypatch.setattr(backend, "starts", lambda provider: provider is cpu)
    with pytest.raises(
        MissingComponentError, match=r"cuda is installed but does not start here \(those that do: cpu\)"
    ):
        Session(Bundle(whole_bundle), "cuda")
    monkeypatch.setattr(backend, "starts", lambda provider: True)
    with pytest.raises(BundleError, match=r"cannot load image\.onnx on cuda \(libcudart is not here\)"):
        Session(Bundle(whole_bundle), "cuda")


def test_sessions_that_share_their_memory_answer_from_several_threads_at_once(
    whole_bundle: Path, tmp_path: Path
) -> None:
    split = Session(Bundle(whole_bundle), "cpu", threads=1), ["image", "text", "head"]
    fused = Session(Bundle(write_bundle(tmp_path / "fused", FUSED)), "cpu", threads=1), ["whole"]

    def answer(number: int) -> tuple[np.ndarray, np.ndarray]:
        session, graphs = (split, fused)[number % 2]
        images, tokens = (np.resize(array, (1 + number % 5, *array.shape[1:])) for array in (IMAGES, TOKENS))
        found = to_numpy(session.run({"image": images, "tokens": tokens}, graphs)["mask_logits"])
        return found, np.resize(EXPECTED, found.shape)

    with ThreadPoolExecutor(4) as pool:
        for found, expected in pool.map(answer, range(40)):
            np.testing.assert_allclose(found, expected, atol=1e-4)


def test_thread_count_reaches_every_graph(whole_bundle: Path) -> None:
    (cpu,) = (provider for provider in PROVIDERS if provider.name == "cpu")
    sessions = backend.OnnxRuntimeSession(Bundle(whole_bundle), cpu, threads=1)._sessions
    assert [session.get_session_options().intra_op_num_threads for session in sessions.values()] == [1, 1, 1]


def test_graph_that_is_no_onnx_is_a_bundle_error(bundle: Path) -> None:
    (bundle / "head.onnx").write_bytes(b"no protobuf")
    write_manifest(bundle, Manifest(toy_spec(), "fp32"))
    with pytest.raises(BundleError, match=r"head\.onnx") as caught:
        Session(Bundle(bundle))
    assert "\n" not in str(caught.value)


def test_graph_whose_tensors_are_not_the_manifests_is_refused(bundle: Path) -> None:
    spec = toy_spec()
    lying = replace(spec.graphs[1], outputs=(TensorSpec("hue", ("batch", 3)),))
    write_manifest(bundle, Manifest(replace(spec, graphs=(spec.graphs[0], lying, spec.graphs[2])), "fp32"))
    with pytest.raises(BundleError, match=r"text\.onnx"):
        Session(Bundle(bundle))


def test_failing_run_is_one_line_that_names_the_graph(whole_bundle: Path) -> None:
    session = Session(Bundle(whole_bundle), threads=1)
    with pytest.raises(RsvlError, match="graph image failed on cpu") as caught:
        session.run({"image": IMAGES[:, :2]}, ["image"])
    assert "\n" not in str(caught.value)


def test_providers_are_in_onnxruntimes_own_words() -> None:
    known = onnxruntime().get_all_providers()
    assert [p.full_name for p in PROVIDERS if p.full_name not in known] == []
