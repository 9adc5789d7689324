"""A server in a process of its own: what comes over a socket, signals, kills, restarts."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from rsvl.cli import main
from tests.runtime.service.conftest import png
from tests.support.installed import needs
from tests.support.rasters import write_raster
from tests.support.toy_bundle import write_bundle
from tests.support.toy_service import Served, serving

LIMITS = ("--max-upload", "0.1", "--body-seconds", "0.5", "--header-seconds", "0.5")


def head(length: str, kind: str = "multipart/form-data; boundary=b") -> bytes:
    return f"POST /bundles/toy/ask HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n{length}\r\n\r\n".encode()


def talk(served: Served, *pieces: bytes, close: bool = False) -> bytes:
    """Sends pieces of a request as they are; what comes back until the server ends the connection."""
    place = urlsplit(served.address)
    with socket.create_connection((place.hostname, place.port), timeout=15) as connection:
        for piece in pieces:
            connection.sendall(piece)
        if close:
            return b""
        found = b""
        while block := connection.recv(65536):
            found += block
    return found


def test_bad_requests_are_refused_and_harm_no_other(toy: Path, tmp_path: Path, squares: np.ndarray) -> None:
    with serving(toy, "--state", tmp_path / "state", *LIMITS) as served:
        declared = talk(served, head("Content-Length: 99999999"))
        assert declared.startswith(b"HTTP/1.1 413 ") and b"application/problem+json" in declared
        chunk = b"5000\r\n" + b"x" * 0x5000 + b"\r\n"
        streamed = talk(served, head("Transfer-Encoding: chunked"), *[chunk] * 6)
        assert streamed.startswith(b"HTTP/1.1 413 ")
        slow = talk(served, head("Content-Length: 50000"), b"--b\r\n")
        assert slow.startswith(b"HTTP/1.1 408 ") and b"within 0.5 s" in slow
        assert talk(served, b"GET / HTTP/1.1\r\nHost: loc") == b""
        assert talk(served, b"\0\1\2 not HTTP\r\n\r\n").startswith(b"HTTP/1.1 400 ")
        assert talk(served, b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000).startswith(b"HTTP/1.1 400 ")
        talk(served, head("Content-Length: 50000"), b"--b\r\n", close=True)
        connection = served.connection()
        body = b'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\nred\r\n'
        body += b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + png(squares)
        connection.request(
            "POST", "/bundles/toy/ask", body + b"\r\n--b--\r\n", {"Content-Type": "multipart/form-data; boundary=b"}
        )
        assert connection.getresponse().status == 200
        assert served.end() == 143


@pytest.fixture
def scene(folder: Path) -> Path:
    """A scene that takes the toy bundle some seconds, in many blocks."""
    rng, pixels = np.random.default_rng(1), np.full((1000, 1000, 3), 128, np.uint8)
    for colour in ((255, 0, 0), (0, 0, 255)) * 20:
        y, x, h, w = rng.integers((0, 0, 10, 10), (900, 900, 150, 150))
        pixels[y : y + h, x : x + w] = colour
    return write_raster(folder / "large.tif", pixels, "EPSG:32618")


FILES = {"masks": "masks.tif", "objects": "outlines.geojson", "overlay": "overlay.png"}
JOB = {"inputs": {"image": "scenes/large.tif", "text": ["red", "blue"], "tile": 32}}


@needs("rasterio")
def test_job_goes_on_after_the_server_ended_or_was_killed(toy: Path, folder: Path, scene: Path, tmp_path: Path) -> None:
    asked = (toy, "--root", folder, "--state", tmp_path / "state")
    with serving(*asked) as served:
        status, about = served.json("POST", "/processes/toy/execution", JOB)
        assert status == 201
        job = about["jobID"]
        parts = tmp_path / "state" / job / "results/scene.parts"
        while not any(parts.glob("part-*.npz")):
            served.wait_for(job, "running")
        assert served.wait_for(job, "running", 1)["progress"] < 90  # the tiles are nine tenths
        began = time.monotonic()
        assert served.end() == 143 and time.monotonic() - began < 5
        assert "Traceback" not in served.logged()
    done = {path: path.stat().st_mtime_ns for path in parts.glob("part-*.npz")}
    assert done
    with serving(*asked) as served:
        served.wait_for(job, "running", 1)
        served.end(signal.SIGKILL)
    kept = {path: path.stat().st_mtime_ns for path in parts.glob("part-*.npz")}
    assert done.items() <= kept.items()
    with serving(*asked) as served:
        served.wait_for(job, "successful")
        options = ["--text", "red", "--text", "blue", "--tile", "32", "--geojson", "--threads", "1"]
        assert main(["run", str(toy), str(scene), "-o", str(tmp_path / "run"), *options]) == 0
        for name, file in FILES.items():
            assert served.bytes(f"/jobs/{job}/results/{name}") == (tmp_path / f"run/large-{file}").read_bytes()


@needs("rasterio")
def test_running_job_is_dismissed_at_once_and_a_killed_process_goes_on(
    toy: Path, folder: Path, scene: Path, tmp_path: Path
) -> None:
    with serving(toy, "--root", folder, "--state", tmp_path / "state") as served:
        _, first = served.json("POST", "/processes/toy/execution", JOB)
        _, second = served.json("POST", "/processes/toy/execution", {"inputs": {**JOB["inputs"], "text": "red"}})
        served.wait_for(first["jobID"], "running", 1)
        assert served.json("DELETE", f"/jobs/{first['jobID']}")[1]["status"] == "dismissed"
        served.wait_for(second["jobID"], "running", 1)
        assert not (tmp_path / "state" / first["jobID"]).exists()
        (child,) = children(served.process.pid)
        os.kill(child, signal.SIGKILL)
        served.wait_for(second["jobID"], "successful")


def children(parent: int) -> list[int]:
    """The job processes of a server: Python that was started by multiprocessing, its resource tracker left out."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            of = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if of == parent and b"spawn_main" in (path / "cmdline").read_bytes():
                found.append(int(path.name))
        except OSError:
            continue
    return found


def test_hangup_loads_the_bundles_again(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "toy")
    with serving(bundle, "--state", tmp_path / "state") as served:
        old = served.json("GET", "/bundles/toy")[1]["sha256"]
        manifest = bundle / "manifest.json"
        manifest.write_text(manifest.read_text() + "\n")
        served.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 15
        while served.json("GET", "/bundles/toy")[1]["sha256"] == old:
            assert time.monotonic() < end
        assert served.end(signal.SIGINT) == 130


@pytest.mark.parametrize(
    ("options", "code", "word"),
    [
        (["--host", "0.0.0.0"], 2, "--insecure"),
        (["--api-key-file", "none"], 2, "none"),
        (["--root", "none"], 2, "no such folder"),
        (["--port", "70000"], 2, "--port"),
        (["--host", "192.0.2.1", "--insecure"], 2, "192.0.2.1"),
        (["--log-level", "loud"], 2, "loud"),
        (["--state", "/proc/none"], 1, "/proc/none"),
    ],
)
def test_what_cannot_be_served_is_one_line(
    toy: Path,
    tmp_path: Path,
    options: list[str],
    code: int,
    word: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert main(["serve", str(toy), "--port", "0", "--state", str(tmp_path / "state"), *options]) == code
    out, errors = capsys.readouterr()
    last = errors.splitlines()[-1]
    assert out == "" and last.startswith("error: ") and word in last and "Traceback" not in errors
