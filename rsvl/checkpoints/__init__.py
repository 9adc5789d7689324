"""Weights from and to files: rsvl's own, and CLIP encoders as OpenAI, open_clip and Hugging Face publish them.

`load("cd2fsan")` builds a model with its weights; `load_weights` and `load_encoder_weights` fill one that exists;
`save_weights` writes one. No checkpoint can run code here: files are safetensors, PyTorch files read as weights only,
or TorchScript archives of which the tensors alone are read (`torchscript.py`).
"""

from rsvl.checkpoints.loading import load, load_encoder_weights, load_weights, save_weights
from rsvl.checkpoints.state_dicts import read_metadata, read_state_dict
from rsvl.modules.encoders.clip_keys import convert_clip, is_clip

__all__ = [
    "convert_clip",
    "is_clip",
    "load",
    "load_encoder_weights",
    "load_weights",
    "read_metadata",
    "read_state_dict",
    "save_weights",
]
