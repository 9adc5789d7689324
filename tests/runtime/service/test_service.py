"""What stands around the requests: keys, origins, queue, time, exchange of bundles, metrics, logs."""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from rsvl.runtime.bundle import sha256
from rsvl.runtime.errors import BundleError, InputError, OutputError, UsageError, VerificationError
from rsvl.runtime.loading import load
from rsvl.runtime.manifest import Manifest
from rsvl.runtime.service.access import read_keys
from rsvl.runtime.service.observed import JsonLines
from rsvl.runtime.tasks.segmentation import Segmenter
from tests.runtime.service.conftest import Start, png
from tests.support.toy_bundle import toy_spec, write_bundle, write_manifest

ASK, KEY = "/bundles/toy/ask", "0123456789abcdef0123"


def asked(client: TestClient, squares: np.ndarray, **headers: str) -> int:
    return client.post(ASK, data={"text": "red"}, files={"image": png(squares)}, headers=headers).status_code


def test_keys_are_asked_for_everywhere_but_where_nothing_is_told(start: Start, squares: np.ndarray) -> None:
    client = start(keys=(KEY, "another-key-of-length"), own_names_only=False)
    for path in ("/bundles", "/images", "/jobs", "/processes", "/metrics", "/preview/scenes/squares.png", "/nowhere"):
        assert client.get(path).status_code == 401, path
    for path in ("/", "/conformance", "/api", "/health/live", "/health/ready"):
        assert client.get(path).status_code == 200, path
    refused = client.post(ASK, data={"text": "red"}, files={"image": png(squares)}, headers={"X-API-Key": KEY[:-1]})
    assert refused.status_code == 401 and refused.headers["www-authenticate"] == "Bearer"
    assert asked(client, squares, Authorization=f"Bearer {KEY}") == 200
    assert asked(client, squares, **{"X-API-Key": "another-key-of-length"}) == 200


@pytest.mark.parametrize("text", ["", "short", "# only a comment\n"])
def test_key_files_without_keys_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys").write_text(text)
    with pytest.raises(InputError):
        read_keys(tmp_path / "keys")


def test_keys_come_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_keys(None) == ()
    monkeypatch.setenv("RSVL_API_KEY", KEY)
    assert read_keys(None) == (KEY,)
    (tmp_path / "keys").write_text(f"# of the map\n{KEY[::-1]}\n\n{KEY}\n")
    assert read_keys(tmp_path / "keys") == (KEY[::-1], KEY)


def test_other_sites_pages_may_not_ask_unless_told(start: Start, client: TestClient, squares: np.ndarray) -> None:
    assert asked(client, squares, Origin="https://elsewhere.example") == 403
    assert asked(client, squares, Origin="null") == 403
    assert asked(client, squares, Origin="http://localhost") == 200
    assert "access-control-allow-origin" not in client.get("/", headers={"Origin": "http://localhost"}).headers


def test_allowed_origin_gets_cors(start: Start, squares: np.ndarray) -> None:
    client = start(origins=("https://maps.example",), keys=(KEY,))
    preflight = {"Origin": "https://maps.example", "Access-Control-Request-Method": "POST"}
    answer = client.options(ASK, headers={**preflight, "Access-Control-Request-Headers": "authorization"})
    assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == "https://maps.example"
    assert asked(client, squares, Origin="https://maps.example", Authorization=f"Bearer {KEY}") == 200
    assert client.options(ASK, headers={**preflight, "Origin": "https://other.example"}).status_code == 400


def test_machine_is_asked_by_its_own_name_only(client: TestClient, squares: np.ndarray) -> None:
    assert asked(client, squares, Host="rebound.example") == 421
    assert asked(client, squares, Host="127.0.0.1:8000") == 200
    assert asked(client, squares, Host="[::1]:8000") == 200


class Gate:
    """Stands in for a model: each request waits until it is let through."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.began, self.open = threading.Semaphore(0), threading.Event()
        original: Callable[..., list] = Segmenter.ask

        def ask(runner: Segmenter, query: object) -> list:
            self.began.release()
            assert self.open.wait(20)
            return original(runner, query)

        monkeypatch.setattr(Segmenter, "ask", ask)


def in_thread(work: Callable[[], int], found: list[int]) -> threading.Thread:
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    return thread


def test_queue_of_limited_length(start: Start, squares: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    client, gate, found = start(lanes=1, limits={"queue": 1}), Gate(monkeypatch), list[int]()
    threads = [in_thread(lambda: asked(client, squares), found)]
    assert gate.began.acquire(timeout=20)
    threads.append(in_thread(lambda: asked(client, squares), found))
    while client.service.lanes.waiting < 1:
        pass
    answer = client.post(ASK, data={"text": "red"}, files={"image": png(squares)})
    assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1
    assert client.get("/health/live").status_code == client.get("/health/ready").status_code == 200
    assert "rsvl_requests_waiting 1.0" in client.get("/metrics").text
    gate.open.set()
    for thread in threads:
        thread.join()
    assert found == [200, 200]


def test_time_is_limited_and_a_hung_graph_is_told(
    start: Start, squares: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, gate = start(lanes=1, limits={"seconds": 0.05}), Gate(monkeypatch)
    assert asked(client, squares) == 504
    assert asked(client, squares) == 503  # the thread is busy still
    while client.get("/health/live").status_code == 200:
        pass
    assert client.get("/health/ready").status_code == 503
    gate.open.set()
    while client.get("/health/ready").status_code == 503:
        pass


def darker(folder: Path) -> None:
    """Puts another good bundle in a bundle's place, with another threshold."""
    write_manifest(folder, replace(load(folder).manifest, model=replace(toy_spec(), threshold=0.25)))


def test_bundle_is_exchanged_between_requests(
    start: Start, tmp_path: Path, squares: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, found = write_bundle(tmp_path / "toy"), list[float]()
    client, gate = start(bundle), Gate(monkeypatch)

    def threshold() -> float:
        answer = client.post(ASK, data={"text": "red"}, files={"image": png(squares)}).json()
        return answer["found"][0]["threshold"]

    old = client.get("/bundles/toy").json()["sha256"]
    thread = threading.Thread(target=lambda: found.append(threshold()))
    thread.start()
    assert gate.began.acquire(timeout=20)
    darker(bundle)
    assert client.get("/bundles/toy").json()["sha256"] == old == client.get("/health/ready").json()["bundles"]["toy"]
    new = client.post("/bundles/toy/reload").json()["sha256"]
    assert new == sha256(bundle / "manifest.json") != old
    gate.open.set()
    thread.join()
    assert (found, threshold()) == ([0.5], 0.25)
    metrics = client.get("/metrics").text
    assert new in metrics and old not in metrics


@pytest.mark.parametrize("harm", ["golden", "hash", "gone"])
def test_bad_bundle_does_not_take_over(start: Start, tmp_path: Path, squares: np.ndarray, harm: str) -> None:
    bundle = write_bundle(tmp_path / "toy")
    client = start(bundle)
    old = client.get("/bundles/toy").json()["sha256"]
    damage(bundle, harm)
    answer = client.post("/bundles/toy/reload")
    assert answer.status_code == 409 and "the old one goes on" in answer.json()["detail"]
    assert client.get("/bundles/toy").json()["sha256"] == old and asked(client, squares) == 200
    assert client.post("/bundles/none/reload").status_code == 404


def damage(bundle: Path, harm: str) -> None:
    if harm == "gone":
        shutil.rmtree(bundle)
        return
    with np.load(bundle / "golden/golden.npz") as arrays:
        changed = {**arrays, "mask_logits": -arrays["mask_logits"]}
    np.savez(bundle / "golden/golden.npz", **changed)
    if harm == "golden":
        write_manifest(bundle, Manifest.from_json((bundle / "manifest.json").read_text()))


@pytest.mark.parametrize(
    ("harm", "error"), [("golden", VerificationError), ("hash", BundleError), ("gone", BundleError)]
)
def test_bad_bundle_is_not_served(start: Start, tmp_path: Path, harm: str, error: type[Exception]) -> None:
    bundle = write_bundle(tmp_path / "toy")
    damage(bundle, harm)
    with pytest.raises(error):
        start(bundle)


def test_names_and_states_are_not_shared(start: Start, client: TestClient, toy: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        start(toy, write_bundle(tmp_path / "again" / "toy"), state=tmp_path / "other")
    with pytest.raises(OutputError):
        start(toy)


def test_requests_are_counted_and_logged(
    client: TestClient, toy: Path, squares: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "rsvl.runtime.service")
    answer = client.post(
        ASK, data={"text": "the secret sentence"}, files={"image": png(squares)}, headers={"X-Request-ID": "abc-1"}
    )
    assert answer.headers["x-request-id"] == "abc-1" and answer.json()["warnings"]
    client.get("/nowhere/<script>")
    lines = [json.loads(JsonLines().format(record)) for record in caplog.records]
    assert lines[0].items() >= {"event": "request", "request_id": "abc-1", "status": 200, "bundle": "toy"}.items()
    assert lines[0]["bundle_sha256"] == sha256(toy / "manifest.json") and "secret" not in json.dumps(lines)
    metrics = client.get("/metrics").text
    assert 'rsvl_requests_total{method="POST",route="/bundles/{name}/ask",status="200"} 1.0' in metrics
    assert 'rsvl_requests_total{method="GET",route="other",status="404"} 1.0' in metrics
    assert 'rsvl_tiles_total{bundle="toy"} 1.0' in metrics and "script" not in metrics


@pytest.mark.parametrize("given", ["x" * 65, "a b", "ü"])
def test_strange_request_ids_are_replaced(client: TestClient, given: str) -> None:
    answer = client.get("/health/live", headers={"X-Request-ID": given.encode()})
    assert answer.headers["x-request-id"] not in (given, "")


def test_failures_of_our_own_are_told_without_their_inside(
    client: TestClient, squares: np.ndarray, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(runner: object, query: object) -> list:
        raise RuntimeError("the inside")

    monkeypatch.setattr(Segmenter, "ask", fail)
    answer = client.post(ASK, data={"text": "red"}, files={"image": png(squares)})
    assert answer.status_code == 500 and "the inside" not in answer.text and answer.headers["x-request-id"]
    assert any("the inside" in record.about.get("traceback", "") for record in caplog.records)
    monkeypatch.undo()
    assert asked(client, squares) == 200


def test_interface_is_described(client: TestClient) -> None:
    about = client.get("/api").json()
    assert about["openapi"].startswith("3.") and "/bundles/{name}/ask" in about["paths"]
    body = about["paths"]["/bundles/{name}/ask"]["post"]["requestBody"]["content"]
    assert set(body) == {"multipart/form-data", "application/json"}
    assert "masks" in body["application/json"]["schema"]["properties"]
