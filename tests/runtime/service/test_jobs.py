"""Jobs in the shape of OGC API - Processes 1.0; their results are the files of `rsvl run`."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from rsvl.cli import main
from rsvl.runtime.manifest import GROUNDING, VQA
from rsvl.runtime.service.jobs import ACCEPTED, DISMISSED, RUNNING, SUCCESSFUL, Jobs, new_id
from rsvl.runtime.service.problems import RequestError
from tests.runtime.service.conftest import Start, png
from tests.support.installed import needs
from tests.support.rasters import write_raster
from tests.support.toy_service import write_golden_bundle

EXECUTE = "/processes/toy/execution"
OGC = "http://www.opengis.net/def/"
EXCEPTIONS = f"{OGC}exceptions/ogcapi-processes-1/1.0/"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def ended(client: TestClient, path: str) -> dict[str, Any]:
    """A job's status when it has ended."""
    end = time.monotonic() + 30
    while (about := client.get(path).json())["status"] in (ACCEPTED, RUNNING):
        assert time.monotonic() < end
        time.sleep(0.02)
    return about


def left_in(state: Path) -> list[str]:
    """What is left of a job that was successful, when the runner has turned to the next one."""
    end = time.monotonic() + 10
    while len(found := [path.name for path in state.glob("*/*")]) > 1 and time.monotonic() < end:
        time.sleep(0.02)
    return found


def accepted(client: TestClient, path: str = EXECUTE, outputs: Any = None, **inputs: Any) -> str:
    """Sends a job; where its status is."""
    body = {"inputs": inputs, **({"outputs": outputs} if outputs else {})}
    answer = client.post(path, json=body, headers={"Prefer": "respond-async"})
    assert answer.status_code == 201, answer.json()
    assert answer.json()["status"] == "accepted" and answer.json()["type"] == "process"
    return answer.headers["location"]


def test_landing_page_leads_to_all_that_there_is(client: TestClient) -> None:
    links = {link["rel"]: link["href"] for link in client.get("/").json()["links"]}
    assert client.get(links[f"{OGC}rel/ogc/1.0/conformance"]).json()["conformsTo"]
    assert client.get(links["service-desc"]).json()["openapi"]
    (process,) = client.get(links[f"{OGC}rel/ogc/1.0/processes"]).json()["processes"]
    assert process["id"] == "toy" and process["jobControlOptions"] == ["async-execute", "dismiss"]
    assert client.get(links[f"{OGC}rel/ogc/1.0/job-list"]).json()["jobs"] == []
    about = client.get(process["links"][0]["href"]).json()
    assert {"image", "text", "aoi", "min_area"} <= set(about["inputs"]) and "sar" not in about["inputs"]
    assert about["inputs"]["text"]["maxOccurs"] == "unbounded" and "masks" in about["outputs"]
    assert next(link["href"] for link in about["links"] if link["rel"].endswith("/execute")) == EXECUTE


@needs("rasterio")
def test_results_are_the_files_of_the_command(client: TestClient, folder: Path, toy: Path, tmp_path: Path) -> None:
    pixels = np.full((300, 340, 3), 128, np.uint8)
    pixels[20:230, 10:30], pixels[100:140, 200:330] = (255, 0, 0), (0, 0, 255)
    scene = write_raster(folder / "placed.tif", pixels, "EPSG:32618")
    options = ["--text", "red", "--text", "blue", "--tile", "32", "--geojson", "--probability", "--threads", "1"]
    assert main(["run", str(toy), str(scene), "-o", str(tmp_path / "out"), *options]) == 0
    where = accepted(client, image={"href": "scenes/placed.tif"}, text=["red", "blue"], tile=32, probability=True)
    about = ended(client, where)
    assert about["status"] == "successful" and about["progress"] == 100 and about["processID"] == "toy"
    assert all(TIME.fullmatch(about[key]) for key in ("created", "started", "finished", "updated"))
    results = client.get(f"{where}/results").json()
    kinds = {
        "masks": "masks.tif",
        "probability": "probability.tif",
        "objects": "outlines.geojson",
        "overlay": "overlay.png",
    }
    for name, file in kinds.items():
        answer = client.get(results[name]["href"])
        assert answer.content == (tmp_path / f"out/placed-{file}").read_bytes()
        assert answer.headers["content-type"] == results[name]["type"]
    assert set(results) == {*kinds, "answer", "outlines", "preview"}
    found = client.get(results["answer"]["href"]).json()
    assert [each["text"] for each in found["found"]] == ["red", "blue"]
    assert found["read"][0]["source"] == "scenes/placed.tif"
    assert left_in(tmp_path / "state") == ["results"]


def test_scene_may_come_with_the_job(client: TestClient, squares: np.ndarray, tmp_path: Path) -> None:
    execute = json.dumps({"inputs": {"text": "red"}})
    answer = client.post(EXECUTE, data={"execute": execute}, files={"image": ("mine.png", png(squares))})
    assert answer.status_code == 201
    assert ended(client, answer.headers["location"])["status"] == "successful"
    found = client.get(f"{answer.headers['location']}/results/answer").json()
    assert found["read"][0]["source"] == "mine.png" and found["found"][0]["box"] == [10, 5, 20, 15]
    assert left_in(tmp_path / "state") == ["results"]


@pytest.mark.parametrize(("task", "outputs"), [(GROUNDING, {"overlay", "outlines", "preview"}), (VQA, set())])
def test_other_tasks_have_jobs(start: Start, tmp_path: Path, task: str, outputs: set[str]) -> None:
    client = start(write_golden_bundle(tmp_path / "other", task))
    where = accepted(client, "/processes/other/execution", image="scenes/squares.png", text="red")
    assert ended(client, where)["status"] == "successful"
    assert set(client.get(f"{where}/results").json()) == {"answer", *outputs}


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({}, 400, "no inputs"),
        ({"inputs": {"image": "scenes/squares.png"}}, 422, "text"),
        ({"inputs": {"image": "scenes/none.png", "text": "red"}}, 404, "no such image"),
        ({"inputs": {"image": {"href": "https://elsewhere.example/a.tif"}, "text": "red"}}, 404, "no such image"),
        ({"inputs": {"image": "scenes/squares.png", "text": "red", "colour": 1}}, 422, "colour"),
        ({"inputs": {"image": "scenes/squares.png", "text": "red"}, "outputs": {"boxes": {}}}, 422, "boxes"),
        ({"inputs": {"image": "scenes/squares.png", "text": "red"}, "subscriber": {"successUri": "x"}}, 422, "host"),
    ],
)
def test_what_cannot_become_a_job_is_refused(client: TestClient, body: Any, status: int, word: str) -> None:
    answer = client.post(EXECUTE, json=body)
    assert answer.status_code == answer.json()["status"] == status and word in answer.json()["detail"]
    assert client.get("/jobs").json()["jobs"] == []


def test_exceptions_have_the_types_of_the_standard(client: TestClient, folder: Path) -> None:
    def kind(answer: Any) -> tuple[int, str]:
        return answer.status_code, answer.json()["type"].removeprefix(EXCEPTIONS)

    assert kind(client.get("/processes/none")) == kind(client.post("/processes/none/execution", json={}))
    assert kind(client.get("/processes/none")) == (404, "no-such-process")
    assert kind(client.get("/jobs/none")) == kind(client.delete("/jobs/none")) == (404, "no-such-job")
    client.service.job_runner.stop()  # what is accepted now waits
    where = accepted(client, image="scenes/squares.png", text="red")
    assert kind(client.get(f"{where}/results")) == (404, "result-not-ready")
    assert client.delete(where).json()["status"] == client.get(where).json()["status"] == "dismissed"
    assert kind(client.get(f"{where}/results")) == (404, "no-such-job")


def test_failed_job_says_why(client: TestClient, folder: Path, tmp_path: Path) -> None:
    whole = (folder / "squares.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) - 30])
    where = accepted(client, image="scenes/cut.png", text="red")
    about = ended(client, where)
    assert about["status"] == "failed" and "scenes/cut.png: damaged" in about["message"]
    problem = client.get(f"{where}/results")
    assert problem.status_code == 422 and problem.json()["detail"] == about["message"]
    assert str(tmp_path) not in about["message"]
    assert ended(client, accepted(client, image="scenes/squares.png", text="red"))["status"] == "successful"


def test_jobs_are_listed_the_newest_first(client: TestClient) -> None:
    places = [accepted(client, image="scenes/squares.png", text=text) for text in ("red", "blue")]
    for place in places:
        ended(client, place)
    listed = client.get("/jobs").json()["jobs"]
    assert [f"/jobs/{job['jobID']}" for job in listed] == places[::-1]
    assert client.get("/jobs?limit=1").json()["jobs"] == listed[:1]
    assert client.get("/jobs?status=failed").json()["jobs"] == client.get("/jobs?processID=no").json()["jobs"] == []
    assert client.get("/jobs?status=odd").status_code == 400 and client.get("/jobs?limit=0").status_code == 422


def test_queue_of_jobs_is_limited(start: Start) -> None:
    client = start(limits={"jobs": 1})
    client.service.job_runner.stop()
    accepted(client, image="scenes/squares.png", text="red")
    answer = client.post(EXECUTE, json={"inputs": {"image": "scenes/squares.png", "text": "red"}})
    assert answer.status_code == 429 and answer.headers["retry-after"]


def test_queue_keeps_order_and_outcome_over_restarts(tmp_path: Path) -> None:
    queue = Jobs(tmp_path)
    first, second, third = (queue.add("toy", {"number": number}, 9, new_id()) for number in range(3))
    assert queue.next() == queue.find(first.id) and queue.find(first.id).status == RUNNING
    queue.dismiss(second.id)
    queue.finish(second.id, SUCCESSFUL)
    queue.close()
    queue = Jobs(tmp_path)
    again = queue.next()
    assert again is not None and (again.id, again.inputs) == (first.id, {"number": 0})
    assert again.started == queue.find(first.id).started and queue.find(second.id).status == DISMISSED
    queue.finish(first.id, SUCCESSFUL)
    assert [job.id for job in queue.listed(9, [], [])] == [third.id, second.id, first.id]
    for job in (first, second, third):
        queue.folder_of(job.id).mkdir()
    queue.purge(1)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == sorted([first.id, third.id])
    queue.purge(-1)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [third.id]
    with pytest.raises(RequestError):
        queue.find(first.id)
