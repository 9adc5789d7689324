"""Swin Transformer's published state dicts in the names of `SwinEncoder`; position biases at other sizes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

import torch.nn.functional as F
from torch import Tensor

TABLE = "relative_position_bias_table"

_Rules = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]

_HUGGING_FACE: _Rules = (
    (r"encoder\.layers\.", "stages."),
    (r"\.attention\.self\.(query|key|value)\.", lambda match: f".attention.{match[1][0]}_proj."),
    (r"\.attention\.self\.(?=relative)", ".attention.relative_position_bias."),
    (r"\.attention\.output\.dense\.", ".attention.o_proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
)
_TIMM: _Rules = (
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"^patch_embed\.norm\.", "embeddings.norm."),
    (r"^layers\.", "stages."),
)
_TORCHVISION: _Rules = (
    (r"^features\.0\.0\.", "embeddings.patch_embeddings.projection."),
    (r"^features\.0\.2\.", "embeddings.norm."),
    (r"^features\.(\d*[13579])\.", lambda match: f"stages.{int(match[1]) // 2}.blocks."),
    (r"^features\.(\d*[02468])\.", lambda match: f"stages.{int(match[1]) // 2 - 1}.downsample."),
    (r"\.mlp\.0\.", ".mlp.fc1."),
    (r"\.mlp\.3\.", ".mlp.fc2."),
)
_IN_BLOCK: _Rules = (
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.attn\.proj\.", ".attention.o_proj."),
    (r"\.attn\.(?=relative)", ".attention.relative_position_bias."),
)
_QKV = re.compile(r"(.+)\.attn\.qkv\.(weight|bias)$")
# Constants that are saved beside the weights, the classifier, and the norm before it.
_NOT_WEIGHTS = re.compile(
    r".*\.(relative_position_index|attn_mask)$|(head|classifier|norm|layernorm)\.|embeddings\.mask_token$"
)


def is_swin(state: Mapping[str, Tensor]) -> bool:
    """Whether these are the weights of a Swin Transformer, in any of the layouts that are read."""
    return any(key.endswith(TABLE) for key in state)


def convert_swin(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames the weights of a Swin Transformer to the names of `rsvl.modules.encoders.swin.SwinEncoder`.

    Layouts are told apart by their keys: the authors' and timm's, torchvision's, Hugging Face's (below ``swin.`` or
    not). Here they become:

    | authors', timm          | torchvision     | Hugging Face                        | here                         |
    |-------------------------|-----------------|-------------------------------------|------------------------------|
    | patch_embed.proj, .norm | features.0.0, 2 | embeddings.….projection, .norm      | as Hugging Face              |
    | layers.S.blocks.N       | features.2S+1.N | encoder.layers.S.blocks.N           | stages.S.blocks.N            |
    | ….norm1, ….norm2        | as timm         | ….layernorm_before, _after          | as Hugging Face              |
    | ….attn.qkv (in thirds)  | as timm         | ….attention.self.query, .key, …     | ….attention.q_proj, .k_proj, … |
    | ….attn.proj             | as timm         | ….attention.output.dense            | ….attention.o_proj           |
    | ….attn.relative_…_table | as timm         | ….attention.self.relative_…_table   | ….relative_position_bias.…   |
    | ….mlp.fc1, ….mlp.fc2    | ….mlp.0, .mlp.3 | ….intermediate.dense, .output.dense | as timm                      |
    | layers.S.downsample     | features.2S+2   | encoder.layers.S.downsample         | stages.S.downsample          |

    In timm since 0.9 ``layers.S.downsample`` stands at the start of stage S, before that and elsewhere at its end. The
    names of transformers 5 stay as they are. The classifier, the norm before it and saved constants are left out.
    """
    state = {key.removeprefix("swin."): value for key, value in state.items()}
    state = {key: value for key, value in state.items() if not _NOT_WEIGHTS.match(key)}
    if any(key.startswith("features.") for key in state):
        rules: _Rules = (*_TORCHVISION, *_IN_BLOCK)
    elif any(key.startswith("patch_embed.") for key in state):
        rules = (*_TIMM, *_IN_BLOCK)
        if not any(key.startswith("layers.0.downsample.") for key in state):
            state = {_merging_at_end(key): value for key, value in state.items()}
    else:
        rules = _HUGGING_FACE
    converted: dict[str, Tensor] = {}
    for key, value in state.items():
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key)
        converted.update(_split(key, value))
    return converted


def fit_windows(state: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Interpolates the position bias tables [(2·w - 1)², heads] to the windows of a model, bicubic, as LAVT does.

    Args:
        state: weights in the names of `SwinEncoder`.
        target: the model's own weights by the same names; only their shapes count.
    """
    return {
        key: _resample(value, len(target[key])) if key.endswith(TABLE) and key in target else value
        for key, value in state.items()
    }


def _merging_at_end(key: str) -> str:
    return re.sub(r"^layers\.(\d+)\.downsample\.", lambda match: f"layers.{int(match[1]) - 1}.downsample.", key)


def _split(key: str, value: Tensor) -> dict[str, Tensor]:
    """Queries, keys and values of one matrix as three."""
    part = _QKV.match(key)
    if part is None:
        return {key: value}
    thirds = zip("qkv", value.chunk(3), strict=True)
    return {f"{part[1]}.attention.{name}_proj.{part[2]}": third.contiguous() for name, third in thirds}


def _resample(table: Tensor, places: int) -> Tensor:
    old, new = math.isqrt(len(table)), math.isqrt(places)
    if old == new or old * old != len(table) or new * new != places:
        return table
    grid = table.float().T.unflatten(1, (old, old))[None]
    return F.interpolate(grid, size=(new, new), mode="bicubic", align_corners=False)[0].flatten(1).T.contiguous()
