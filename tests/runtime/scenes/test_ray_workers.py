"""Blocks done by Ray actors: the same bytes as those of processes, whoever is killed, and errors in one line."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from rsvl.runtime.errors import DeviceError, InputError, MissingComponentError, OutputError
from rsvl.runtime.images.scene import open_scene
from rsvl.runtime.loading import load
from rsvl.runtime.scenes.executors import Executor
from rsvl.runtime.scenes.plan import Plan, hashes_of
from rsvl.runtime.scenes.ray_workers import RayWorkers
from rsvl.runtime.scenes.scene_run import SceneFiles, run_scene
from tests.support.installed import needs
from tests.support.rasters import write_raster

pytestmark = needs("rasterio")


@pytest.fixture
def plan(tmp_path: Path, bundle: Path) -> Plan:
    """Of a scene with 42 blocks, red and blue squares in them."""
    image = np.full((260, 300, 3), 128, np.uint8)
    image[40:90, 30:110], image[120:250, 90:260] = (255, 0, 0), (0, 0, 255)
    scene = write_raster(tmp_path / "scene.tif", image, "EPSG:32618")
    hashes = hashes_of(scene, load(bundle, threads=1).bundle)
    return Plan(scene, bundle, "cpu", 1, ("red", "blue"), 0.5, 32, block_pixels=60 * 60, hashes=hashes)


@pytest.fixture(scope="module")
def ray_workers() -> Iterator[RayWorkers]:
    with RayWorkers(count=2) as workers:
        yield workers


def results(plan: Plan, out: Path, workers: int | Executor) -> dict[str, bytes]:
    """The files of a scene run, those of its parts included."""
    out.mkdir()
    scene, files = open_scene(plan.scene), SceneFiles(out / "scene.parts", out / "masks.tif")
    found = run_scene(plan, load(plan.bundle, "cpu", 1), scene, files, workers=workers, keep_parts=True)
    found[0].save(out / "red.geojson")
    return {path.name: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


class Killing:
    """An executor whose done blocks each cost a worker of Ray its life, the first few."""

    def __init__(self, executor: RayWorkers, kills: int) -> None:
        self.executor, self.left = executor, kills

    def threads(self, in_all: int | None) -> int | None:
        return self.executor.threads(in_all)

    def do(self, plan: Plan, folder: Path, blocks: list[int], done: object) -> None:
        def kill_and_tell(tiles: int) -> None:
            if self.left:
                os.kill(grandchildren("ray::_Worker")[0], signal.SIGKILL)
                self.left -= 1
            done(tiles)

        self.executor.do(plan, folder, blocks, kill_and_tell)


def grandchildren(name: str) -> list[int]:
    """The processes of a name that a child of this one, such as Ray's own, has started."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            title, parent = (place / "cmdline").read_text(), parent_of(place)
            if title.startswith(name) and parent_of(Path("/proc", str(parent))) == os.getpid():
                found.append(int(place.name))
        except OSError:
            continue  # it has ended
    return found


def parent_of(place: Path) -> int:
    return int((place / "stat").read_text().rpartition(")")[2].split()[1])


@needs("ray")
def test_ray_gives_the_same_bytes_as_processes_though_workers_are_killed(
    plan: Plan, ray_workers: RayWorkers, tmp_path: Path
) -> None:
    killing = Killing(ray_workers, 2)
    in_processes = results(plan, tmp_path / "processes", 2)
    assert results(plan, tmp_path / "ray", killing) == in_processes and not killing.left
    assert len([name for name in in_processes if name.startswith("part-")]) == 42
    assert results(plan, tmp_path / "again", ray_workers) == in_processes


@needs("ray")
def test_folder_or_bundle_that_a_worker_does_not_see_is_named(
    plan: Plan, ray_workers: RayWorkers, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match=f"{socket.gethostname()} does not see .* an -o that all machines share"):
        ray_workers.do(plan, tmp_path, [0, 1], lambda tiles: None)
    other = replace(plan, hashes=(plan.hashes[0], "0" * 64))
    with pytest.raises(InputError, match="it is another bundle"):
        results(other, tmp_path / "out", ray_workers)


def test_missing_ray_is_a_missing_component(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingComponentError, match=r"pip install 'rsvl\[ray\]'"):
        RayWorkers()


def test_cluster_that_is_not_there_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))  # not asked: nobody listens
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for address in (f"127.0.0.1:{port}", "somewhere"):
        with pytest.raises(DeviceError, match=f"Ray \\({address}\\) does not answer .* or use --ray local"):
            RayWorkers(address)
