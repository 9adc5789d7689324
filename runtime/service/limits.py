"""How much one client may ask for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What is refused, and when.

    Attributes:
        upload_bytes: of a short request's body.
        scene_bytes: of a job's body.
        json_bytes: of a body without images.
        pixels: of a short request's image, from its header.
        sentences: of one request.
        letters: of one sentence.
        header_seconds: in which a request's head must have come.
        body_seconds: in which its body must have come.
        seconds: in which a short request must be answered.
        queue: short requests that wait.
        jobs: jobs that wait.
        stall_seconds: without progress, after which a job's process is ended and started again.
        keep_days: that a finished job's results are kept.
    """

    upload_bytes: int = 64 << 20
    scene_bytes: int = 4 << 30
    json_bytes: int = 1 << 20
    pixels: int = 1 << 24
    sentences: int = 32
    letters: int = 1000
    header_seconds: float = 10
    body_seconds: float = 60
    seconds: float = 60
    queue: int = 64
    jobs: int = 100
    stall_seconds: float = 1800
    keep_days: float = 7
