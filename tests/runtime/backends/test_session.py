"""Wiring graphs by their tensors' names, the hooks, and errors that name the graph."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rsvl.runtime.backends.session import Session, to_numpy
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.errors import RsvlError, UsageError, VerificationError
from rsvl.runtime.loading import load
from rsvl.runtime.manifest import Manifest
from tests.support.toy_bundle import COLOURS, FUSED, SIZE, expected_logits, toy_spec, write_bundle, write_manifest

IMAGES = np.random.default_rng(3).random((2, 3, SIZE, SIZE), np.float32)
TOKENS = np.array([[7, 2, 8, 0, 0, 0, 0, 0], [7, 3, 8, 0, 0, 0, 0, 0]])
EXPECTED = expected_logits(IMAGES, np.array([COLOURS["red"], COLOURS["green"]]))


def test_graphs_are_wired_by_tensor_names(whole_bundle: Path) -> None:
    session = Session(Bundle(whole_bundle), threads=1)
    outputs = session.run({"image": IMAGES, "tokens": TOKENS}, ["image", "text", "head"])
    assert set(outputs) == {"pixels", "colour", "mask_logits"}
    np.testing.assert_allclose(to_numpy(outputs["mask_logits"]), EXPECTED, atol=1e-4)


def test_runnable_graphs_follow_from_their_inputs(whole_bundle: Path, tmp_path: Path) -> None:
    split = Session(Bundle(whole_bundle), threads=1)
    assert split.runnable_graphs(["image"]) == ["image"]
    assert split.runnable_graphs(["tokens"]) == ["text"]
    assert split.runnable_graphs(["image", "tokens"], without=["image", "text"]) == ["head"]
    fused = Session(Bundle(write_bundle(tmp_path / "fused", FUSED)), threads=1)
    assert fused.runnable_graphs(["image"]) == fused.runnable_graphs(["tokens"]) == []
    assert fused.runnable_graphs(["image", "tokens"]) == ["whole"]


def test_unknown_provider_lists_the_known(whole_bundle: Path) -> None:
    with pytest.raises(UsageError, match=r"engines, openvino, openvino-bf16, .*cuda"):
        Session(Bundle(whole_bundle), "gpu")


@pytest.mark.parametrize("threads", [0, -1])
def test_thread_count_below_one_is_refused(whole_bundle: Path, threads: int) -> None:
    with pytest.raises(UsageError, match="threads"):
        Session(Bundle(whole_bundle), threads=threads)


def test_hooks_get_the_name_the_inputs_and_the_time_of_each_graph(whole_bundle: Path) -> None:
    session = Session(Bundle(whole_bundle), threads=1)
    inputs: list[tuple[str, list[str]]] = []
    times: list[tuple[str, float, float]] = []
    session.input_hook = lambda graph, tensors: inputs.append((graph, sorted(tensors)))
    session.timing_hook = lambda graph, start, end: times.append((graph, start, end))
    session.run({"image": IMAGES, "tokens": TOKENS}, ["image", "text", "head"])
    assert inputs == [("image", ["image"]), ("text", ["tokens"]), ("head", ["colour", "pixels"])]
    assert [graph for graph, _, _ in times] == ["image", "text", "head"]
    moments = [moment for _, start, end in times for moment in (start, end)]
    assert moments == sorted(moments)


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_input_that_is_no_array_of_the_graphs_type_names_the_graph(whole_bundle: Path, provider: str) -> None:
    if provider == "openvino":
        pytest.importorskip("openvino")
    with pytest.raises(RsvlError, match=f"^graph image failed on {provider}: ") as caught:
        Session(Bundle(whole_bundle), provider, threads=1).run({"image": "harbour.png"}, ["image"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_never_leave_the_session(value: float) -> None:
    with pytest.raises(VerificationError, match="not finite"):
        to_numpy(np.array([0, value], np.float16))
    np.testing.assert_array_equal(to_numpy(np.array([1, 2])), [1, 2])


def test_mean_that_overflows_is_an_error_and_not_an_empty_mask(bundle: Path, squares: np.ndarray) -> None:
    spec = toy_spec()
    loud = dataclasses.replace(spec.images[0], std=(1e-38,) * 3)
    write_manifest(bundle, Manifest(dataclasses.replace(spec, images=(loud,)), "fp32"))
    with pytest.raises(VerificationError, match="not finite"):
        load(bundle, "cpu", 1).segment(squares, "the red square")


FORKING = """
import os, sys
from rsvl.runtime import load
from rsvl.runtime.errors import UsageError
import numpy as np
runner, image = load(sys.argv[1], "cpu", 2), np.zeros((32, 32, 3), np.uint8)
child = os.fork()
if not child:
    try:
        runner.segment(image, "red")
    except UsageError as error:
        print(error, flush=True)
    load(sys.argv[1], "cpu", 2).segment(image, "red")
    sys.exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), runner.segment(image, "red").found)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forked_child_is_told_to_load_again_and_ends(whole_bundle: Path) -> None:
    command = [sys.executable, "-c", FORKING, str(whole_bundle)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    refusal, child = done.stdout.splitlines()
    assert "load it in the child process" in refusal and child == "7 False", done.stderr
