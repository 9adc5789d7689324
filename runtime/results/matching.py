"""The result of a retrieval: an image that was found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Match:
    """An image that was retrieved: its place in what was given, and its similarity to the text (a scaled logit)."""

    index: int
    similarity: float
