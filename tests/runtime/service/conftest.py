"""A service of the toy bundle, and a client of it in this process."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from tests.support.toy_bundle import write_bundle

if TYPE_CHECKING:
    from starlette.testclient import TestClient

#: Where the extra serve or Starlette's test client are not installed, nothing of this folder is run.
collect_ignore_glob = [] if find_spec("fastapi") and find_spec("httpx2") else ["test_*.py"]
Start = Callable[..., "TestClient"]


def png(pixels: np.ndarray) -> bytes:
    """An image as the bytes of a PNG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle called ``toy``; read only."""
    return write_bundle(tmp_path_factory.mktemp("served") / "toy")


@pytest.fixture
def folder(tmp_path: Path, squares: np.ndarray) -> Path:
    """An allowed folder, ``scenes``, with ``squares.png``; beside it a file that is not in it."""
    root = tmp_path / "scenes"
    root.mkdir()
    (root / "squares.png").write_bytes(png(squares))
    (tmp_path / "secret.png").write_bytes(png(squares))
    return root


@pytest.fixture
def start(toy: Path, folder: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts a service and gives a client of it; limits and options by name."""
    from starlette.testclient import TestClient

    from rsvl.runtime.service.app import create_app
    from rsvl.runtime.service.limits import Limits
    from rsvl.runtime.service.service import ServeOptions, Service

    with ExitStack() as stack:

        def started(*bundles: Path, limits: dict[str, Any] | None = None, **options: Any) -> TestClient:
            asked = {"roots": [folder], "threads": 1, "state": tmp_path / "state", **options}
            service = Service(ServeOptions(bundles or [toy], limits=Limits(**(limits or {})), **asked))
            client = TestClient(service.wrapped(create_app(service)), "http://localhost", raise_server_exceptions=False)
            client.service = service  # type: ignore[attr-defined]
            return stack.enter_context(client)

        yield started


@pytest.fixture
def client(start: Start) -> TestClient:
    return start()
