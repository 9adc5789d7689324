"""Weights from and to files: rsvl's own, and those that others publish, which each model and encoder knows itself.

`load("cd2fsan")` builds a model with its weights; `load_weights` and `load_encoder_weights` fill one that exists;
`save_weights` writes one. No checkpoint can run code here: files are safetensors, PyTorch files read as weights only,
or TorchScript archives of which the tensors alone are read (`torchscript.py`).
"""

from rsvl.checkpoints.loading import load, load_encoder_weights, load_weights, save_weights
from rsvl.checkpoints.state_dicts import read_metadata, read_state_dict

__all__ = [
    "load",
    "load_encoder_weights",
    "load_weights",
    "read_metadata",
    "read_state_dict",
    "save_weights",
]
