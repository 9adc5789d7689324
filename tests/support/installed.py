"""Tests that need what the light installation does not bring."""

from __future__ import annotations

from importlib.util import find_spec

import pytest


def needs(module: str) -> pytest.MarkDecorator:
    """A mark that skips a test, or one of its cases, where a module is not installed."""
    return pytest.mark.skipif(find_spec(module) is None, reason=f"{module} is not installed")
