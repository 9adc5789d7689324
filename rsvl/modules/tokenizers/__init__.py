"""Tokenizers as JSON that the light runtime reads, with their vocabularies."""
