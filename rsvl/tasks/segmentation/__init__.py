"""Referring segmentation: a sentence, and the pixels of what it names."""
