"""Processes that do not outlive the one that started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from multiprocessing.process import BaseProcess


def follow_parent() -> None:
    """Makes a process that multiprocessing started end with its parent, by that one's will, and tell nobody else."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, too, which ends this process
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    warnings.simplefilter("ignore")  # what there is to tell, results and the parent tell


def end(process: BaseProcess, grace: float) -> None:
    """Ends a process by SIGTERM, and by SIGKILL where that does not do within so many seconds."""
    process.terminate()
    process.join(grace)
    if process.is_alive():
        process.kill()
        process.join()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
