"""Swin Transformer on the modules of transformers, run one stage at a time; its published state dicts.

The state-dict keys below ``embeddings.`` and ``stages.`` are those of transformers' ``SwinModel`` below ``embeddings.``
and ``encoder.layers.``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import SwinConfig
from transformers.models.swin.modeling_swin import SwinEmbeddings, SwinPatchMerging, SwinStage

from rsvl.modules.encoders.position import grid_position
from rsvl.modules.encoders.published import Configuration, Told, transformer_settings, with_weights_of
from rsvl.modules.encoders.stem import ConvStem
from rsvl.modules.encoders.swin_configuration import ACTIVATIONS, told_of_swin
from rsvl.modules.key_rules import Rules, renamed

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class SwinSizes:
    """Sizes of a Swin Transformer.

    Attributes:
        embed: channels of the first stage; each further stage has twice as many at half the side.
        depths: blocks of each stage.
        heads: attention heads of each stage.
        window: side of the attention windows; a stage that is smaller takes its own side.
        mlp_ratio: hidden width of the feed-forward layers relative to the stage's.
        drop_path: stochastic depth of the last block, rising linearly from 0.
        layer_norm_eps: of the norms within the blocks.
        activation: of the feed-forward layers.
    """

    embed: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int
    mlp_ratio: float = 4.0
    drop_path: float = 0.0
    layer_norm_eps: float = 1e-5
    activation: str = "gelu"

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each stage."""
        return tuple(self.embed * 2**stage for stage in range(len(self.depths)))


SWIN_B = SwinSizes(embed=128, depths=(2, 2, 18, 2), heads=(4, 8, 16, 32), window=12, drop_path=0.3)
"""Swin-B with windows of 12, as LAVT and those after it use it."""

_PATCH = 4


class SwinEncoder(nn.Module):
    """The stages of a Swin Transformer for square images of one size.

    Args:
        sizes: its sizes.
        image_size: side of the image in pixels.
        stem: replaces the single patch convolution when given; its last map must be ``sizes.embed`` wide. The tokens
            are then told their places by sines and cosines, because such an encoder is trained from scratch.

    Attributes:
        sides: the side of each stage's map.
    """

    kind: ClassVar[str] = "a Swin Transformer (of its authors, timm, torchvision or Hugging Face)"
    position: Tensor

    def __init__(self, sizes: SwinSizes, image_size: int, stem: ConvStem | None = None) -> None:
        super().__init__()
        self._sizes = sizes
        patch = _PATCH if stem is None else 2 ** len(stem.stages)
        self.sides = tuple(image_size // patch // 2**stage for stage in range(len(sizes.depths)))
        self.embeddings = SwinEmbeddings(_config(sizes, sizes.window, image_size))
        self.stem = stem
        if stem is not None:
            self.embeddings.patch_embeddings = nn.Identity()  # type: ignore[assignment]
            self.register_buffer("position", _position(sizes.embed, self.sides[0]), persistent=False)
        self.stages = nn.ModuleList(_stage(sizes, index, side) for index, side in enumerate(self.sides))
        self.apply(_initialise)

    def embed(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Embeds the patches of images float [B, 3, S, S].

        Returns:
            Tokens [B, N, C], and the stem's maps before the last (empty without a stem).
        """
        if self.stem is None:
            return self._tokens(self.embeddings.patch_embeddings.projection(image)), []
        maps = self.stem(image)
        return self._tokens(maps[-1]) + self.position, maps[:-1]

    def merge(self, index: int, x: Tensor) -> Tensor:
        """Merges patches: the tokens [B, 4·N, C / 2] of the stage before become those that enter `index` [B, N, C]."""
        before = self.sides[index - 1]
        return self._stages[index - 1].downsample(x, (before, before))

    def blocks(self, index: int, x: Tensor) -> Tensor:
        """Passes the tokens [B, N, C] that enter stage `index`, counted from 0, through its blocks."""
        side = self.sides[index]
        for block in self._stages[index].blocks:
            x, _ = block(x, (side, side), always_partition=True)
        return x

    def map(self, index: int, tokens: Tensor) -> Tensor:
        """A stage's tokens [B, N, C] as a map [B, C, H, W]."""
        return tokens.transpose(1, 2).unflatten(2, (self.sides[index], self.sides[index]))

    def published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """The encoder's weights from a published Swin (`convert_swin`), fitted to its windows (`fit_windows`).

        None where the tensors are of something else.
        """
        return fit_windows(convert_swin(state), self.state_dict()) if is_swin(state) else None

    def told(self, state: Mapping[str, Tensor], configuration: Configuration) -> Told:
        """See `ConfiguredEncoder`; of Hugging Face's and timm's configurations."""
        return told_of_swin(convert_swin(state), configuration)

    def settings(self) -> dict[str, str]:
        """See `ConfiguredEncoder`: `layer_norm_eps` and `activation`."""
        return {"layer_norm_eps": str(self._sizes.layer_norm_eps), "activation": self._sizes.activation}

    def configure(self, settings: Mapping[str, str]) -> None:
        """See `ConfiguredEncoder`."""
        followed = {name: value for name, value in settings.items() if name in self.settings()}
        sizes = replace(self._sizes, **transformer_settings(followed, self._sizes.embed, ACTIVATIONS))
        if sizes == self._sizes:
            return
        self._sizes = sizes
        stages = nn.ModuleList(_stage(sizes, index, side) for index, side in enumerate(self.sides))
        self.stages = with_weights_of(self.stages, stages)

    @property
    def _stages(self) -> Sequence[Any]:
        return cast(Sequence[Any], self.stages)  # transformers' own modules, which do not tell what they hold

    def _tokens(self, patches: Tensor) -> Tensor:
        return self.embeddings.norm(patches.flatten(2).transpose(1, 2))


def _config(sizes: SwinSizes, window: int, image_size: int) -> SwinConfig:
    config = SwinConfig(
        image_size=image_size,
        patch_size=_PATCH,
        embed_dim=sizes.embed,
        depths=list(sizes.depths),
        num_heads=list(sizes.heads),
        window_size=window,
        mlp_ratio=sizes.mlp_ratio,
        drop_path_rate=sizes.drop_path,
        layer_norm_eps=sizes.layer_norm_eps,
        hidden_act=sizes.activation,
    )
    config._attn_implementation = "sdpa"
    return config


def _stage(sizes: SwinSizes, index: int, side: int) -> SwinStage:
    first, count = sum(sizes.depths[:index]), sum(sizes.depths)
    stage = SwinStage(
        config=_config(sizes, min(sizes.window, side), side),
        dim=sizes.widths[index],
        input_resolution=(side, side),
        depth=sizes.depths[index],
        num_heads=sizes.heads[index],
        drop_path=[sizes.drop_path * (first + block) / max(1, count - 1) for block in range(sizes.depths[index])],
        downsample=SwinPatchMerging if index < len(sizes.depths) - 1 else None,
    )
    for block in cast(Sequence[Any], stage.blocks):
        block.set_shift_and_window_size((side, side))  # here once; in the forward pass it would be a branch
    return stage


def _position(width: int, side: int) -> Tensor:
    return grid_position(width, side).flatten(1).T.contiguous() / 2


def _initialise(module: nn.Module) -> None:
    """Linear layers as Swin starts them: a normal distribution of width 0.02, no bias."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)


_TABLE = "relative_position_bias_table"
_HUGGING_FACE: Rules = (
    (r"encoder\.layers\.", "stages."),
    (r"\.attention\.self\.(query|key|value)\.", lambda match: f".attention.{match[1][0]}_proj."),
    (r"\.attention\.self\.(?=relative)", ".attention.relative_position_bias."),
    (r"\.attention\.output\.dense\.", ".attention.o_proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
)
_TIMM: Rules = (
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"^patch_embed\.norm\.", "embeddings.norm."),
    (r"^layers\.", "stages."),
)
_TORCHVISION: Rules = (
    (r"^features\.0\.0\.", "embeddings.patch_embeddings.projection."),
    (r"^features\.0\.2\.", "embeddings.norm."),
    (r"^features\.(\d*[13579])\.", lambda match: f"stages.{int(match[1]) // 2}.blocks."),
    (r"^features\.(\d*[02468])\.", lambda match: f"stages.{int(match[1]) // 2 - 1}.downsample."),
    (r"\.mlp\.0\.", ".mlp.fc1."),
    (r"\.mlp\.3\.", ".mlp.fc2."),
)
_IN_BLOCK: Rules = (
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.attn\.proj\.", ".attention.o_proj."),
    (r"\.attn\.(?=relative)", ".attention.relative_position_bias."),
)
_POSITIONS = re.compile(rf"(swin\.)?(encoder\.layers|layers|stages|features)\.\d.*\.{_TABLE}$")
_QKV = re.compile(r"(.+)\.attn\.qkv\.(weight|bias)$")
# Constants that are saved beside the weights, the classifier, and the norm before it.
_NOT_WEIGHTS = re.compile(
    r".*\.(relative_position_index|attn_mask)$|(head|classifier|norm|layernorm)\.|embeddings\.mask_token$"
)


def is_swin(state: Mapping[str, Tensor]) -> bool:
    """Whether these are the weights of a Swin Transformer, in any of the layouts that are read."""
    return any(_POSITIONS.match(key) for key in state)


def convert_swin(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames the weights of a Swin Transformer to the names of `SwinEncoder`.

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
        rules: Rules = (*_TORCHVISION, *_IN_BLOCK)
    elif any(key.startswith("patch_embed.") for key in state):
        rules = (*_TIMM, *_IN_BLOCK)
        if not any(key.startswith("layers.0.downsample.") for key in state):
            state = {_merging_at_end(key): value for key, value in state.items()}
    else:
        rules = _HUGGING_FACE
    converted: dict[str, Tensor] = {}
    for key, value in state.items():
        converted.update(_split(renamed(key, rules), value))
    return converted


def fit_windows(state: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Interpolates the position bias tables [(2·w - 1)², heads] to the windows of a model, bicubic, as LAVT does.

    Args:
        state: weights in the names of `SwinEncoder`.
        target: the model's own weights by the same names; only their shapes count.
    """
    return {
        key: _resample(value, len(target[key])) if key.endswith(_TABLE) and key in target else value
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
