"""A toy bundle for what is measured of bundles."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.toy_bundle import write_bundle


@pytest.fixture(scope="session")
def whole_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An intact bundle that all tests share: read only."""
    return write_bundle(tmp_path_factory.mktemp("toy") / "toy.bundle")
