"""Sentences around a class's name, for zero-shot classification: ``{}`` stands for the name."""

from __future__ import annotations

#: What one sentence is asked with, and what classes are trained with.
TEMPLATE = "a satellite photo of {}."

_VIEWS = ("satellite imagery", "aerial imagery", "satellite photo", "aerial photo", "satellite view", "aerial view")
_ARTICLES = ("", "a ", "the ")

#: Those that CLIP's authors classify remote sensing scenes (RESISC45) with; their embeddings are averaged.
SCENE_TEMPLATES = tuple(f"{view} of {article}{{}}." for view in _VIEWS for article in _ARTICLES)
