"""A small LAVT's weights as its authors' training writes them, renamed back by a table of the test's own."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

State = dict[str, Tensor]

_PIXEL_WORD = (
    ("project", "vis_project.0"),
    ("attention.query", "image_lang_att.f_query.0"),
    ("attention.key", "image_lang_att.f_key.0"),
    ("attention.value", "image_lang_att.f_value.0"),
    ("attention.out", "image_lang_att.W.0"),
    ("merge", "project_mm.0"),
)
_RULES = (
    (r"^image_encoder\.embeddings\.patch_embeddings\.projection\.", "backbone.patch_embed.proj."),
    (r"^image_encoder\.embeddings\.norm\.", "backbone.patch_embed.norm."),
    (r"^image_encoder\.stages\.", "backbone.layers."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.o_proj\.", ".attn.proj."),
    (r"\.attention\.qkv\.", ".attn.qkv."),
    (r"\.attention\.relative_position_bias\.", ".attn."),
    (r"^norms\.(\d)\.", r"backbone.norm\1."),
    (r"^gates\.(\d)\.mlp\.", r"backbone.layers.\1.res_gate."),
    *((rf"^pwam\.(\d)\.{re.escape(ours)}\.", rf"backbone.layers.\1.fusion.{theirs}.") for ours, theirs in _PIXEL_WORD),
    (r"^decoder\.blocks\.0\.conv(\d)\.", r"classifier.conv\1_4."),
    (r"^decoder\.blocks\.1\.conv(\d)\.", r"classifier.conv\1_3."),
    (r"^decoder\.blocks\.2\.conv(\d)\.", r"classifier.conv\1_2."),
    (r"^decoder\.blocks\.0\.norm(\d)\.", r"classifier.bn\1_4."),
    (r"^decoder\.blocks\.1\.norm(\d)\.", r"classifier.bn\1_3."),
    (r"^decoder\.blocks\.2\.norm(\d)\.", r"classifier.bn\1_2."),
    (r"^classes\.", "classifier.conv1_1."),
    (r"^text_encoder\.bert\.", "text_encoder."),
)


def released_state(model: nn.Module) -> State:
    """The entries of `model` in a released checkpoint, with the constants and the gate that nothing reads."""
    state = dict(model.state_dict())
    for key in [key for key in state if ".q_proj." in key]:
        parts = [state.pop(key.replace(".q_proj.", f".{part}_proj.")) for part in "qkv"]
        state[key.replace(".q_proj.", ".qkv.")] = torch.cat(parts)
    released = {}
    for key, value in state.items():
        for pattern, replacement in _RULES:
            key = re.sub(pattern, replacement, key)
        released[key] = value[..., None] if ".fusion." in key and value.dim() == 2 else value
    width = len(released["backbone.norm3.weight"])
    released["backbone.layers.3.res_gate.0.weight"] = torch.zeros(width, width)
    released["backbone.layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(4, 4, dtype=torch.long)
    return released


def write_released(state: State, path: Path, apart: bool = False, **more: Any) -> None:
    """A file as the authors' training writes it.

    Args:
        state: what is under ``model``.
        path: the file.
        apart: whether BERT lies under ``bert_model`` beside it.
        more: other entries of the file.
    """
    moments = {index: {"exp_avg": torch.zeros(value.shape)} for index, value in enumerate(state.values())}
    file: dict[str, Any] = {
        "model": state,
        "optimizer": {"state": moments, "param_groups": [{"lr": 5e-5, "params": list(moments)}]},
        "epoch": 39,
        "args": argparse.Namespace(model="lavt_one", img_size=480, window12=True, resume=""),
        "lr_scheduler": {"last_epoch": 39},
        **more,
    }
    if apart:
        bert = "text_encoder."
        file["bert_model"] = {key.removeprefix(bert): value for key, value in state.items() if key.startswith(bert)}
        file["model"] = {key: value for key, value in state.items() if not key.startswith(bert)}
    torch.save(file, path)
