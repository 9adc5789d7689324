"""What is chosen on a machine whose backends take given times, and that loading takes it. No real time is asserted."""

from __future__ import annotations

import json
import os
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rsvl.runtime import load
from rsvl.runtime.backends import per_graph
from rsvl.runtime.backends.session import Session, to_numpy
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.cache import CACHE
from rsvl.runtime.errors import BundleError, MissingComponentError, OutputError, UsageError
from rsvl.runtime.tuning import choice as choices
from rsvl.runtime.tuning import store
from rsvl.runtime.tuning.choice import GraphChoice
from rsvl.runtime.tuning.store import find_choice, forget, known_choices
from rsvl.runtime.tuning.tune import thread_counts, tune
from tests.support.timed_machine import TimedMachine
from tests.support.toy_bundle import COLOURS, SIZE, expected_logits

DEFAULT = GraphChoice("cpu")
#: The image graph is faster in OpenVINO on two threads, the text graph nowhere, the head on one thread of ONNX Runtime.
SPEEDS = {("image", "openvino", 2): 0.6, ("head", "cpu", 1): 0.5, ("text", "openvino", 2): 1.5}
BEST = {"image": GraphChoice("openvino", 2), "text": DEFAULT, "head": GraphChoice("cpu", 1)}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def packed(bundle: Path, tmp_path: Path) -> Path:
    """The bundle as one file."""
    path = tmp_path / "toy.rsvl"
    with zipfile.ZipFile(path, "w") as archive:
        for each in bundle.rglob("*"):
            archive.write(each, each.relative_to(bundle))
    return path


def chosen(machine: TimedMachine, bundle: Path, seconds: float = 1e4, **options: object) -> dict[str, GraphChoice]:
    return dict(tune(bundle, seconds, timer=machine, **options).choice.graphs)  # type: ignore[arg-type]


def test_each_graph_gets_what_is_fastest_for_it(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = TimedMachine(monkeypatch, SPEEDS)
    report = tune(bundle, 1e4, timer=machine)
    assert dict(report.choice.graphs) == BEST and not report.choice.keeps_default
    assert report.choice.ratio == pytest.approx((0.6 + 1.0 + 0.5) / 3, abs=1e-4)
    assert {(t.graph, str(t.choice)) for t in report.trials if not t.why_not and t.choice} == {
        ("image", "openvino on 2 threads"),
        ("head", "cpu on 1 thread"),
    }


def test_loading_takes_what_was_chosen_and_answers_alike(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = TimedMachine(monkeypatch, SPEEDS)
    tune(bundle, 1e4, timer=machine)
    machine.runs.clear()
    session = Session(Bundle(bundle))
    image = np.random.default_rng(1).random((1, 3, SIZE, SIZE), np.float32)
    outputs = session.run({"image": image, "tokens": np.array([[7, 2, 8, 0, 0, 0, 0, 0]])}, ["image", "text", "head"])
    assert (session.provider, session.precision) == ("tuned", "fp32")
    assert machine.runs == [(name, BEST[name].provider, BEST[name].threads) for name in ("image", "text", "head")]
    runner = load(bundle)
    assert (runner.provider, runner.on_gpu, runner.usual_batch) == ("tuned", False, 1)
    expected = expected_logits(image, np.array([COLOURS["red"]]))
    np.testing.assert_allclose(to_numpy(outputs["mask_logits"]), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "ran"),
    [
        ({}, [("image", "openvino", 2), ("text", "cpu", None), ("head", "cpu", 1)]),
        ({"provider": "tuned"}, [("image", "openvino", 2), ("text", "cpu", None), ("head", "cpu", 1)]),
        ({"provider": "tuned", "threads": 4}, [("image", "openvino", 4), ("text", "cpu", 4), ("head", "cpu", 4)]),
        ({"provider": "cpu"}, [(name, "cpu", None) for name in ("image", "text", "head")]),
        ({"threads": 1}, [(name, "cpu", 1) for name in ("image", "text", "head")]),
    ],
)
def test_explicit_options_win(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], ran: list[object]
) -> None:
    machine = TimedMachine(monkeypatch, SPEEDS)
    tune(bundle, 1e4, timer=machine)
    machine.runs.clear()
    runner = load(bundle, **options)  # type: ignore[arg-type]
    runner.run(image=np.zeros((1, 3, SIZE, SIZE), np.float32), tokens=np.zeros((1, 8), np.int64))
    assert machine.runs == ran


@pytest.mark.parametrize(
    "speeds",
    [{}, {("image", "openvino"): 0.985}, {("image", "openvino"): 1.3, ("head", "cpu", 1): 2.0}],
    ids=["all alike", "a gain within the margin", "others slower"],
)
def test_default_is_kept_where_nothing_is_faster(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, speeds: dict[object, float]
) -> None:
    machine = TimedMachine(monkeypatch, speeds)
    report = tune(bundle, 1e4, timer=machine)
    assert report.choice.keeps_default and report.choice.ratio == 1
    assert Session(Bundle(bundle)).provider == "cpu"


def test_gain_in_one_graph_that_is_none_of_the_whole_is_not_taken(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = TimedMachine(monkeypatch, {("image", "cpu"): 1e3, ("text", "openvino"): 0.5, ("image", "openvino"): 1e3})
    assert set(chosen(machine, bundle, 1e7).values()) == {DEFAULT}


def test_fast_but_wrong_is_never_chosen_and_the_next_best_is(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = {("image", "openvino", 2): 0.2, ("image", "openvino", 1): 0.6}
    machine = TimedMachine(monkeypatch, speeds, wrong=[("image", "openvino", 2)])
    report = tune(bundle, 1e4, timer=machine)
    assert dict(report.choice.graphs) == {**dict.fromkeys(BEST, DEFAULT), "image": GraphChoice("openvino", 1)}
    (trial,) = [t for t in report.trials if (t.graph, t.choice) == ("image", GraphChoice("openvino", 2))]
    assert "its outputs differ: mask IoU" in trial.why_not


def test_lower_precision_is_tried_only_where_it_is_named(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = TimedMachine(monkeypatch, {("image", "openvino-bf16"): 0.1})
    assert set(chosen(machine, bundle).values()) == {DEFAULT}
    assert chosen(machine, bundle, providers=["openvino-bf16"])["image"] == GraphChoice("openvino-bf16", 2)
    assert Session(Bundle(bundle)).precision == "bf16"


def test_time_bounds_the_measurement(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = TimedMachine(monkeypatch, SPEEDS)
    report = tune(bundle, 40.0, timer=machine)
    assert report.seconds < 60
    assert any(trial.why_not == "time was up" for trial in report.trials)


def test_machine_without_openvino_tries_threads_alone(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = TimedMachine(monkeypatch, SPEEDS)
    monkeypatch.setattr(choices, "_version", lambda distribution: "")
    assert chosen(machine, bundle) == {**dict.fromkeys(BEST, DEFAULT), "head": GraphChoice("cpu", 1)}
    assert {provider for _, provider, _ in machine.runs} == {"cpu"}


def test_named_provider_that_is_missing_is_an_error(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = TimedMachine(monkeypatch, {})

    def missing(*_: object) -> None:
        raise MissingComponentError("OpenVINO is not installed")

    monkeypatch.setattr(per_graph, "OpenVinoSession", missing)
    with pytest.raises(MissingComponentError, match="OpenVINO"):
        tune(bundle, 1e4, ["openvino"], timer=machine)


@pytest.mark.parametrize(
    ("cores", "counts"), [(1, [1]), (2, [2, 1]), (3, [3, 2, 1]), (12, [12, 8, 6, 4, 2, 1]), (8, [8, 4, 2, 1])]
)
def test_threads_are_tried_up_to_the_cores(cores: int, counts: list[int]) -> None:
    assert thread_counts(cores) == counts


def test_whole_bundle_goes_to_a_gpu_that_is_named_or_stays(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = TimedMachine(monkeypatch, {(name, "cuda"): 0.1 for name in BEST})
    report = tune(bundle, 1e4, ["cpu", "cuda"], timer=machine)
    assert set(report.choice.graphs.values()) == {GraphChoice("cuda")}
    assert Session(Bundle(bundle)).provider == "cuda"


def test_default_on_a_gpu_must_be_named(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = TimedMachine(monkeypatch, {})
    default = machine._default
    monkeypatch.setattr(
        "rsvl.runtime.tuning.tune.open_backend", lambda b, p, t: default(b, "cuda" if p is None else p, t)
    )
    with pytest.raises(UsageError, match="--providers cuda,cpu,openvino"):
        tune(bundle, 1e4, timer=machine)


@pytest.mark.parametrize(
    ("options", "why"),
    [({"seconds": 0}, "--seconds"), ({"seconds": float("nan")}, "--seconds"), ({"providers": ["gpu"]}, "'gpu'")],
)
def test_wrong_options_are_refused(bundle: Path, options: dict[str, object], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        tune(bundle, **options)  # type: ignore[arg-type]


def test_bundle_without_golden_test_is_refused(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Bundle(bundle)
    files = {name: digest for name, digest in opened.manifest.files.items() if "golden" not in name}
    opened.manifest = replace(opened.manifest, files=files)
    with pytest.raises(BundleError, match="golden"):
        tune(opened, 1e4, timer=TimedMachine(monkeypatch, {}))


def test_choice_lies_beside_the_engines_or_in_the_cache(
    bundle: Path, packed: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = TimedMachine(monkeypatch, SPEEDS)
    assert tune(bundle, 1e4, timer=machine).path.parent == bundle / "engines"
    assert tune(packed, 1e4, timer=machine).path.parent == cache / "tuning"
    for path in (bundle, packed):
        found = find_choice(Bundle(path))
        assert found is not None and dict(found.graphs) == BEST


def test_bundle_that_is_read_only_is_remembered_in_the_cache(
    bundle: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = TimedMachine(monkeypatch, SPEEDS)
    access = os.access
    monkeypatch.setattr(store.os, "access", lambda path, mode: path != bundle / "engines" and access(path, mode))
    assert tune(bundle, 1e4, timer=machine).path.parent == cache / "tuning"
    assert Session(Bundle(bundle)).provider == "tuned"


def test_no_place_to_remember_is_told_before_anything_is_measured(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = TimedMachine(monkeypatch, SPEEDS)
    monkeypatch.setattr(store.os, "access", lambda path, mode: False)
    with pytest.raises(OutputError, match="RSVL_CACHE"):
        tune(bundle, 1e4, timer=machine)
    assert machine.runs == []


CIRCUMSTANCES = {
    "cpu": ("Another CPU", "CPU AMD EPYC 1, here Another CPU"),
    "cores": (64, "cores 2, here 64"),
    "features": (("AVX2",), "CPU features none, here AVX2"),
    "accelerator": ("NVIDIA H200", "accelerator none, here NVIDIA H200"),
    "versions": ({"onnxruntime": "2.0 (cpu)"}, "onnxruntime 1.30 (cpu), here 2.0 (cpu)"),
    "engines": (("a.engine",), "TensorRT engines none, here 1"),
}


@pytest.mark.parametrize(("name", "value", "why"), [(k, *v) for k, v in CIRCUMSTANCES.items()])
def test_choice_of_other_circumstances_is_stale(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: object, why: str
) -> None:
    machine = TimedMachine(monkeypatch, SPEEDS)
    then = choices.Circumstances("AMD EPYC 1", (), 2, "", {"onnxruntime": "1.30 (cpu)"}, ())
    monkeypatch.setattr("rsvl.runtime.tuning.tune.circumstances", lambda bundle: then)
    tune(bundle, 1e4, ["cpu", "openvino"], timer=machine)
    monkeypatch.setattr(store, "circumstances", lambda bundle: then)
    assert Session(Bundle(bundle)).provider == "tuned"
    monkeypatch.setattr(store, "circumstances", lambda bundle: replace(then, **{name: value}))
    with pytest.warns(UserWarning, match="run rsvl tune again") as told:
        assert Session(Bundle(bundle)).provider == "cpu"
    assert [why in str(warning.message) for warning in told] == [True]
    assert len(known_choices(Bundle(bundle))) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[:-20],
        lambda text: text.replace('"threads": 2', '"threads": 0'),
        lambda text: text.replace('"threads": 2', '"threads": "2"'),
        lambda text: text.replace('"cores":', '"kerne":'),
        lambda text: text.replace('"head":', '"tail":'),
        lambda text: json.dumps([text]),
        lambda text: "[" * 100_000,
    ],
)
def test_damaged_choice_is_ignored_and_told(bundle: Path, monkeypatch: pytest.MonkeyPatch, damage) -> None:
    path = tune(bundle, 1e4, timer=TimedMachine(monkeypatch, SPEEDS)).path
    path.write_text(damage(path.read_text()))
    with pytest.warns(UserWarning, match="cannot be read"):
        assert Session(Bundle(bundle)).provider == "cpu"
    with pytest.warns(UserWarning, match="cannot be read"), pytest.raises(UsageError, match="run rsvl tune"):
        Session(Bundle(bundle), "tuned")
    assert forget(Bundle(bundle)) == 1


def test_choice_that_names_what_runs_no_graph_gives_way_with_a_warning(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tune(bundle, 1e4, timer=TimedMachine(monkeypatch, SPEEDS)).path
    path.write_text(path.read_text().replace('"openvino",', '"abacus",'))
    with pytest.warns(UserWarning, match=r"falling back from the choice of rsvl tune: abacus"):
        assert Session(Bundle(bundle)).provider == "cpu"


def test_choice_follows_the_bundles_content(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tune(bundle, 1e4, timer=TimedMachine(monkeypatch, SPEEDS))
    manifest = Bundle(bundle).manifest
    (bundle / "manifest.json").write_text(replace(manifest, metrics={"mIoU": 0.5}).to_json())
    assert find_choice(Bundle(bundle)) is None


def test_forgetting_removes_all_that_was_chosen(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tune(bundle, 1e4, timer=TimedMachine(monkeypatch, SPEEDS)).path
    assert (forget(Bundle(bundle)), forget(Bundle(bundle))) == (1, 0)
    assert not path.exists() and Session(Bundle(bundle)).provider == "cpu"


def test_tuning_again_replaces_the_choice(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tune(bundle, 1e4, timer=TimedMachine(monkeypatch, SPEEDS))
    tune(bundle, 1e4, timer=TimedMachine(monkeypatch, {}))
    (choice,) = known_choices(Bundle(bundle))
    assert choice.keeps_default


def test_two_at_once_take_turns_and_leave_one_whole_record(bundle: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda _: tune(bundle, 0.3, ["cpu"]), range(2)))
    assert reports[0].path == reports[1].path and find_choice(Bundle(bundle)) is not None
    assert [path.suffix for path in (bundle / "engines").iterdir()] == [".json"]
