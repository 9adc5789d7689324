"""Processes that do not outlive the one that started them."""

from __future__ import annotations

import multiprocessing
import os


def end_with_parent() -> None:
    """Waits for the parent's end and then ends this process: for a thread of its own."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
