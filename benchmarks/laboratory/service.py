"""How fast `rsvl serve` is beside the runtime itself, what a flood does to another client, and what kills do to a job.

python -m rsvl.benchmarks.laboratory.service BUNDLE IMAGE --record FILE
python -m rsvl.benchmarks.laboratory.service BUNDLE IMAGE --kills 100 --record FILE

Clients and server share this machine's cores. Each request has an image of its own, so that the image graph runs for
every one; the runtime's own throughput is that of the same threads on the same files, without HTTP.
"""

from __future__ import annotations

import hashlib
import json
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import numpy as np
import typer
from PIL import Image

from rsvl.benchmarks.machine import hardware
from rsvl.runtime.loading import load
from rsvl.runtime.tasks.query import Query

_TEXT, _LANES, _CLIENTS, _SLOW = "the white building", 2, 16, 50
_HEAD = b"POST /bundles/served/ask HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"


def main(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle that segments or grounds.")],
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="An image; its quarter turns and mirrors are asked.")],
    kills: Annotated[int, typer.Option("--kills", metavar="N", help="Only kill the server N times in a job.")] = 0,
    seconds: Annotated[float, typer.Option("--seconds", metavar="S", help="Of each measurement.")] = 12,
    threads: Annotated[int, typer.Option("--threads", metavar="N", help="CPU threads in all.")] = 2,
    record: Annotated[Path | None, typer.Option("--record", metavar="FILE", help="Write the figures there.")] = None,
) -> None:
    """Measures, prints and records."""
    with tempfile.TemporaryDirectory(prefix="rsvl-service-") as folder:
        work = Path(folder)
        (work / "served").symlink_to(bundle.resolve())
        if kills:
            found = killed(work, image, kills, threads)
        else:
            found = measured(work, images_of(image, work), seconds, threads)
    found = {"machine": hardware(), "bundle": bundle.name, "threads": threads, **found}
    print(json.dumps(found, indent=1))
    if record is not None:
        record.write_text(json.dumps(found, indent=1) + "\n")


def images_of(image: Path, folder: Path) -> list[Path]:
    """Eight images of one, of other contents: turned and mirrored."""
    pixels, found = np.asarray(Image.open(image).convert("RGB")), []
    for number in range(8):
        turned = np.rot90(pixels if number < 4 else pixels[:, ::-1], number % 4)
        found.append(folder / f"image-{number}.png")
        Image.fromarray(np.ascontiguousarray(turned)).save(found[-1])
    return found


@contextmanager
def serving(folder: Path, threads: int, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server of the folder's bundle, and its address."""
    command = [sys.executable, "-m", "rsvl", "serve", str(folder / "served"), "--port", "0", "--log-level", "warning"]
    command += ["--threads", str(threads), "--parallel", str(_LANES), "--state", str(folder / "state"), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().split()[-1]
    finally:
        process.kill()
        process.wait()


# --- speed ---


def measured(folder: Path, images: Sequence[Path], seconds: float, threads: int) -> dict[str, Any]:
    """Throughput, latency at half load, and another client's latency in a flood."""
    own = own_throughput(folder / "served", images, threads)
    bodies = [body_of(image) for image in images]
    with serving(folder, threads, "--max-upload", "1", "--body-seconds", "2") as (_, address):
        ask = asking(address, bodies)
        ask(0)
        pairs = []
        for _ in range(3):  # in turns, so that what else the machine does falls on both
            pairs.append((own(seconds / 3), closed_loop(ask, seconds / 3)))
        runtime, served = (float(np.median(each)) for each in zip(*pairs, strict=True))
        ratio = float(np.median([ours / theirs for theirs, ours in pairs]))
        half = open_loop(ask, served / 2, seconds * 2)
        calm, flooded = in_turns(ask, address, seconds)
    return {
        "runtime_per_second": runtime,
        "served_per_second": served,
        "clients": _CLIENTS,
        "share_of_runtime": ratio,
        "half_load": {"per_second": served / 2, **spread(half)},
        "calm_client": spread(calm),
        "client_in_flood": spread(flooded),
        "flood_p99_ratio": spread(flooded)["p99_ms"] / spread(calm)["p99_ms"],
    }


def own_throughput(bundle: Path, images: Sequence[Path], threads: int) -> Callable[[float], float]:
    """The runtime's requests per second: as many Python threads as the server has, on the same files."""
    runner, turn = load(bundle, threads=max(1, threads // _LANES)), count()

    def measure(seconds: float) -> float:
        end, done = time.perf_counter() + seconds, [0] * _LANES

        def work(lane: int) -> None:
            while time.perf_counter() < end:
                query = Query({"optical": images[next(turn) % len(images)]}, [_TEXT])
                json.dumps([result.to_dict() for result in runner.ask(query)])
                done[lane] += 1

        with ThreadPoolExecutor(_LANES) as pool:
            list(pool.map(work, range(_LANES)))
        return sum(done) / seconds

    return measure


def body_of(image: Path) -> bytes:
    """A form with an image and a sentence."""
    part = b'--b\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n'
    text = part % (b"text", b"", _TEXT.encode())
    return text + part % (b"image", b'; filename="a.png"', image.read_bytes()) + b"--b--\r\n"


def asking(address: str, bodies: Sequence[bytes]) -> Callable[[int], float]:
    """A function that sends a request, on a connection of its thread's own, and gives its seconds."""
    own, place = threading.local(), urlsplit(address)

    def ask(number: int) -> float:
        if not hasattr(own, "connection"):
            own.connection = HTTPConnection(str(place.hostname), place.port, timeout=60)
        started = time.perf_counter()
        own.connection.request(
            "POST",
            "/bundles/served/ask",
            bodies[number % len(bodies)],
            {"Content-Type": "multipart/form-data; boundary=b"},
        )
        answer = own.connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        return time.perf_counter() - started

    return ask


def closed_loop(ask: Callable[[int], float], seconds: float) -> float:
    """Requests per second of clients that each ask again at once."""
    end, numbers, done = time.perf_counter() + seconds, count(), [0] * _CLIENTS

    def client(which: int) -> None:
        while time.perf_counter() < end:
            ask(next(numbers))
            done[which] += 1

    with ThreadPoolExecutor(_CLIENTS) as pool:
        list(pool.map(client, range(_CLIENTS)))
    return sum(done) / seconds


def open_loop(ask: Callable[[int], float], rate: float, seconds: float) -> list[float]:
    """Latencies of requests that come at random instants, `rate` per second on average."""
    gaps = np.random.default_rng(0).exponential(1 / rate, int(rate * seconds))
    instants = time.perf_counter() + np.cumsum(gaps)

    def client(number: int) -> float:
        ask(number)
        return float(time.perf_counter() - instants[number])

    with ThreadPoolExecutor(64) as pool:
        waiting = []
        for number, instant in enumerate(instants):
            time.sleep(max(0.0, instant - time.perf_counter()))
            waiting.append(pool.submit(client, number))
        return [each.result() for each in waiting]


def in_turns(ask: Callable[[int], float], address: str, seconds: float) -> tuple[list[float], list[float]]:
    """A client that asks all the time, alone and in a flood, in turns."""
    calm: list[float] = []
    flooded: list[float] = []
    for _ in range(4):
        calm += one_client(ask, seconds / 4)
        with flood(address):
            flooded += one_client(ask, seconds / 4)
    return calm, flooded


def one_client(ask: Callable[[int], float], seconds: float) -> list[float]:
    """Latencies of one client that asks, waits for the answer and asks again."""
    end, found, number = time.perf_counter() + seconds, [], count()
    while time.perf_counter() < end:
        found.append(ask(next(number)))
    return found


@contextmanager
def flood(address: str, per_second: float = 100) -> Iterator[None]:
    """So many oversized and malformed requests per second, and `_SLOW` connections that send a byte now and then."""
    place, ends = urlsplit(address), threading.Event()
    bad = [
        _HEAD + b"Content-Length: 999999999\r\n\r\n" + b"x" * 65536,
        _HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"10000\r\n" + b"x" * 65536 + b"\r\n",
        _HEAD + b"Content-Length: 10\r\n\r\n--b\r\nno he",
        b"\x16\x03\x01 no HTTP at all\r\n\r\n",
        b"POST /bundles/served/ask HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n{",
    ]

    def connect() -> socket.socket:
        return socket.create_connection((str(place.hostname), place.port or 0), timeout=5)

    def hurl() -> None:
        for number in count():
            if ends.wait(1 / per_second):
                return
            with suppress(OSError), connect() as connection:
                connection.sendall(bad[number % len(bad)])
                connection.settimeout(0.01)
                connection.recv(4096)

    def trickle() -> None:
        held: list[socket.socket] = []
        while not ends.wait(0.5):
            while len(held) < _SLOW:
                held.append(connect())
                held[-1].sendall(_HEAD + b"Content-Length: 50000\r\n\r\n")
            for connection in list(held):
                try:
                    connection.sendall(b"x")
                except OSError:
                    held.remove(connection)
        for connection in held:
            connection.close()

    workers = [threading.Thread(target=work, daemon=True) for work in (hurl, trickle)]
    for worker in workers:
        worker.start()
    try:
        time.sleep(1.0)
        yield
    finally:
        ends.set()
        for worker in workers:
            worker.join()


def spread(found: Sequence[float]) -> dict[str, float]:
    """Percentiles of latencies."""
    p50, p99 = (float(np.percentile(found, share)) * 1000 for share in (50, 99))
    return {"requests": len(found), "p50_ms": p50, "p99_ms": p99, "p99_per_p50": p99 / p50}


# --- kills ---


def killed(folder: Path, image: Path, kills: int, threads: int, sides: int = 9) -> dict[str, Any]:
    """Kills the server at random instants of jobs, each of which must end with the same results."""
    scenes = folder / "scenes"
    scenes.mkdir()
    pixels = np.asarray(Image.open(image).convert("RGB"))
    Image.fromarray(np.tile(pixels, (sides, sides, 1))).save(scenes / "scene.png")
    asked = {"inputs": {"image": "scenes/scene.png", "text": [_TEXT, "the red vehicle"], "tile": pixels.shape[0]}}
    rng, outcomes, shares = np.random.default_rng(1), list[str](), list[int]()
    job = ""
    while len(outcomes) <= kills:
        with serving(folder, threads, "--root", str(scenes)) as (process, address):
            if job:
                wait_for(address, job)
                outcomes.append(digest(address, job))
            job = request(address, "POST", "/processes/served/execution", asked)["jobID"]
            if not outcomes:  # the first is left alone
                wait_for(address, job)
                outcomes.append(digest(address, job))
                job = request(address, "POST", "/processes/served/execution", asked)["jobID"]
            shares.append(wait_for(address, job, float(rng.uniform(0, 100))))
            time.sleep(float(rng.uniform(0, 0.5)))  # progress comes block by block: somewhere in one
            process.send_signal(signal.SIGKILL)
            process.wait()
        print(f"{len(outcomes) - 1} of {kills}, {len(set(outcomes))} different", file=sys.stderr)
    running = sum(0 < share < 100 for share in shares)
    return {
        "kills": kills,
        "identical": outcomes.count(outcomes[0]) - 1,
        "killed_between_first_and_last_block": running,
        "scene": [pixels.shape[1] * sides, pixels.shape[0] * sides],
    }


def request(address: str, method: str, path: str, body: Any = None) -> Any:
    """A request of JSON."""
    place = urlsplit(address)
    connection = HTTPConnection(str(place.hostname), place.port, timeout=60)
    connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
    return json.loads(connection.getresponse().read())


def wait_for(address: str, job: str, progress: float = 101) -> int:
    """Waits until a job has been successful, or has so much progress; how much it has."""
    while (about := request(address, "GET", f"/jobs/{job}"))["status"] != "successful" and about["progress"] < progress:
        assert about["status"] in ("accepted", "running"), about
        time.sleep(0.05)
    return int(about["progress"])


def digest(address: str, job: str) -> str:
    """SHA-256 of all results of a job."""
    place, found = urlsplit(address), hashlib.sha256()
    for name, about in sorted(request(address, "GET", f"/jobs/{job}/results").items()):
        connection = HTTPConnection(str(place.hostname), place.port, timeout=60)
        connection.request("GET", about["href"])
        found.update(name.encode() + connection.getresponse().read())
    return found.hexdigest()


if __name__ == "__main__":
    typer.run(main)
