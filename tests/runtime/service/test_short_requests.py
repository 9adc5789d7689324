"""Short requests: the answers are the runtime's own, in every form; what cannot be used is refused in one line."""

from __future__ import annotations

import base64
import io
import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from rsvl.cli import main
from rsvl.runtime.loading import load
from rsvl.runtime.manifest import CLASSIFICATION, GROUNDING, MATCHING, VQA
from rsvl.runtime.tasks.query import Query
from rsvl.runtime.tasks.segmentation import Segmenter
from tests.runtime.service.conftest import Start, png
from tests.support.installed import needs
from tests.support.rasters import write_raster
from tests.support.toy_service import write_golden_bundle

ASK = "/bundles/toy/ask"
SENTENCES = ["the red square", "blue"]


def test_answer_is_the_runtimes_own(client: TestClient, segmenter: Segmenter, squares: np.ndarray) -> None:
    answer = client.post(ASK, data={"text": SENTENCES, "masks": "true"}, files={"image": png(squares)})
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    expected = segmenter.segment(squares, SENTENCES)
    assert answer.json()["found"] == json.loads(json.dumps([each.to_dict() for each in expected]))
    assert answer.json()["bundle"]["name"] == "toy" and answer.json()["read"][0]["source"] == "upload"
    for text, each in zip(answer.json()["masks"], expected, strict=True):
        mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("L"))
        np.testing.assert_array_equal(mask, each.mask * np.uint8(255))


def test_named_image_gives_the_same_as_the_sent_one(client: TestClient, squares: np.ndarray) -> None:
    sent = client.post(ASK, data={"text": SENTENCES}, files={"image": png(squares)}).json()
    named = client.post(ASK, json={"image": "scenes/squares.png", "text": SENTENCES}).json()
    assert named["found"] == sent["found"] and named["read"][0]["source"] == "scenes/squares.png"
    assert client.get("/images").json() == {"images": ["scenes/squares.png"]}


@needs("rasterio")
def test_forms_are_the_files_of_the_command(client: TestClient, folder: Path, tmp_path: Path, toy: Path) -> None:
    pixels = np.full((60, 70, 3), 128, np.uint8)
    pixels[20:30, 10:30] = (255, 0, 0)
    scene = write_raster(folder / "placed.tif", pixels, "EPSG:32618")
    assert main(["run", str(toy), str(scene), "--text", "red", "-o", str(tmp_path), "--geojson", "--threads", "1"]) == 0

    def asked(form: str) -> bytes:
        answer = client.post(ASK, json={"image": "scenes/placed.tif", "text": "red", "format": form})
        assert answer.status_code == 200
        return answer.content

    assert asked("geotiff") == (tmp_path / "placed-masks.tif").read_bytes()
    assert asked("png") == (tmp_path / "placed-overlay.png").read_bytes()
    assert json.loads(asked("geojson")) == json.loads((tmp_path / "placed-outlines.geojson").read_text())


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/json"),
        ("image/png", "image/png"),
        ("image/*;q=0.9, application/json;q=0.5", "image/png"),
        ("text/html, application/json;q=0.9", "application/json"),
        ("application/json;q=0, image/png", "image/png"),
        ("text/html", "application/problem+json"),
    ],
)
def test_accept_chooses_the_form(client: TestClient, squares: np.ndarray, accept: str, kind: str) -> None:
    answer = client.post(ASK, data={"text": "red"}, files={"image": png(squares)}, headers={"Accept": accept})
    assert answer.headers["content-type"] == kind
    assert answer.status_code == (406 if "problem" in kind else 200)


@pytest.mark.parametrize("task", [GROUNDING, VQA, MATCHING, CLASSIFICATION])
def test_every_task_is_served(start: Start, tmp_path: Path, squares: np.ndarray, task: str) -> None:
    bundle = write_golden_bundle(tmp_path / "served", task)
    data = {} if task == CLASSIFICATION else {"text": ["red", "blue"]}
    answer = start(bundle).post("/bundles/served/ask", data=data, files={"image": png(squares)})
    query = Query({"optical": squares}, data.get("text", []))
    expected = [result.to_dict() for result in load(bundle, threads=1).ask(query)]
    assert answer.status_code == 200 and answer.json()["found"] == json.loads(json.dumps(expected))


def claims_pixels(side: int) -> bytes:
    """A PNG whose header says how large it is, and whose pixels are missing."""
    head = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in (head, b"IDAT")
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


REFUSED: list[tuple[dict[str, Any], bytes | None, int, str]] = [
    ({"text": "red"}, claims_pixels(5000), 413, "job"),
    ({"text": ["red"] * 5}, b"", 413, "5 sentences"),
    ({"text": "red " * 20}, b"", 413, "80 characters"),
    ({}, None, 422, "text"),
    ({"text": " "}, None, 422, "empty"),
    ({"text": "red"}, b"no image at all", 422, "not an image"),
    ({"text": "red"}, b"", 422, "empty file"),
    ({"text": "red", "colour": "1"}, None, 422, "colour"),
    ({"text": "red", "threshold": "2"}, None, 422, "threshold"),
    ({"text": "red", "tile": "0"}, None, 422, "tile"),
    ({"text": "red", "bands": "9"}, None, 422, "band"),
    ({"text": "red", "probability": "true"}, None, 422, "probability"),
    ({"text": "red", "format": "geojson"}, None, 422, "outlines"),
    ({"text": "red", "image": "scenes/squares.png"}, None, 422, "sent and named"),
    ({"text": "red"}, b'<VRTDataset rasterXSize="1" rasterYSize="1"></VRTDataset>', 422, "VRT"),
]


@pytest.mark.parametrize(("data", "image", "status", "word"), REFUSED, ids=[each[3] for each in REFUSED])
def test_what_cannot_be_answered_is_one_clear_line(
    start: Start, squares: np.ndarray, data: dict[str, Any], image: bytes | None, status: int, word: str
) -> None:
    client = start(limits={"pixels": 10_000, "sentences": 4, "letters": 60})
    answer = client.post(ASK, data=data, files={"image": png(squares) if image is None else image})
    problem = answer.json()
    assert answer.status_code == problem["status"] == status, problem
    assert answer.headers["content-type"] == "application/problem+json" and set(problem) >= {"type", "title", "detail"}
    assert word in problem["detail"] and "\n" not in problem["detail"] and "/tmp" not in problem["detail"]
    assert list(client.service.uploads.iterdir()) == []
    assert client.post(ASK, data={"text": "red"}, files={"image": png(squares)}).status_code == 200


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[1]", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"x", "text/plain", 415),
        (b"x", "multipart/form-data", 400),
        (b"--b\r\nno header", "multipart/form-data; boundary=b", 400),
    ],
)
def test_malformed_bodies_are_refused(client: TestClient, body: bytes, kind: str, status: int) -> None:
    answer = client.post(ASK, content=body, headers={"Content-Type": kind})
    assert answer.status_code == answer.json()["status"] == status


def test_bodies_beyond_the_limit_are_refused_by_their_head(start: Start, squares: np.ndarray) -> None:
    client = start(limits={"upload_bytes": 1000, "json_bytes": 500})
    answer = client.post(ASK, data={"text": "red"}, files={"image": b"x" * 2000})
    assert answer.status_code == 413 and answer.headers["connection"] == "close"
    assert client.post(ASK, json={"image": "x" * 600}).status_code == 413
    assert client.post(ASK, data={"text": "red"}, files={"image": png(squares)}).status_code == 200


NAMES = [
    "../secret.png",
    "scenes/../secret.png",
    "/etc/hostname",
    "secret.png",
    "scenes/link.png",
    "scenes/out/secret.png",
]
NAMES += [
    "scenes/",
    "scenes",
    "",
    "scenes/\0",
    "http://localhost/a.png",
    "scenes/http://localhost/a.png",
    "scenes/pipe",
]
NAMES += [
    "/vsicurl/http://localhost/a.tif",
    "scenes/outside.vrt",
    "scenes/circle",
    "scenes//etc/hostname",
    "scenes/text",
]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_outside_of_the_folders_is_read(client: TestClient, folder: Path, name: str) -> None:
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    (folder / "out").symlink_to(folder.parent)
    (folder / "circle").symlink_to(folder / "circle")
    (folder / "text").write_text("not an image")
    os.mkfifo(folder / "pipe")
    source = '<SourceFilename relativeToVRT="1">link.png</SourceFilename><SourceBand>1</SourceBand>'
    band = f'<VRTRasterBand dataType="Byte" band="1"><SimpleSource>{source}</SimpleSource></VRTRasterBand>'
    (folder / "outside.vrt").write_text(f'<VRTDataset rasterXSize="64" rasterYSize="48">{band}</VRTDataset>')
    answer = client.post(ASK, json={"image": name, "text": "red"})
    assert answer.status_code in (404, 422) and "secret" not in answer.json()["detail"].replace(name, "")
    assert client.get("/images").json()["images"] == ["scenes/squares.png"]
    assert client.get(f"/preview/{quote(name)}").status_code == 404


def test_link_within_a_folder_is_followed(client: TestClient, folder: Path) -> None:
    (folder / "same.png").symlink_to("squares.png")
    assert client.post(ASK, json={"image": "scenes/same.png", "text": "red"}).status_code == 200
    preview = client.get("/preview/scenes/same.png")
    assert Image.open(io.BytesIO(preview.content)).size == (64, 48)
