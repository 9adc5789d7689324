"""CLIP's published state dicts: their names as transformers has them, their sizes, their positions at another size."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from rsvl.modules.encoders.clip_kinds import refuse_other_images, refuse_other_text, refuse_text_both_ways
from rsvl.runtime.errors import CheckpointError

VISION_POSITIONS = "vision_model.embeddings.position_embedding.weight"
TEXT_POSITIONS = "text_model.embeddings.position_embedding.weight"
SCALE = "logit_scale"

_PATCHES = "vision_model.embeddings.patch_embedding.weight"
_WORDS = "text_model.embeddings.token_embedding.weight"
_SHARED, _TEXT_SHARED = "visual_projection.weight", "text_projection.weight"
_IMAGE = ("vision_model.", "visual_projection.", "stem.")
_TEXT = ("text_model.", "text_projection.")

_TRANSPOSED = {"visual.proj": "visual_projection.weight", "text_projection": "text_projection.weight"}
_RENAMED = (
    (r"visual\.class_embedding$", "vision_model.embeddings.class_embedding"),
    (r"visual\.conv1\.", "vision_model.embeddings.patch_embedding."),
    (r"visual\.positional_embedding$", VISION_POSITIONS),
    (r"visual\.ln_pre\.", "vision_model.pre_layrnorm."),
    (r"visual\.ln_post\.", "vision_model.post_layernorm."),
    (r"visual\.transformer\.resblocks\.", "vision_model.encoder.layers."),
    (r"token_embedding\.", "text_model.embeddings.token_embedding."),
    (r"positional_embedding$", TEXT_POSITIONS),
    (r"ln_final\.", "text_model.final_layer_norm."),
    (r"transformer\.resblocks\.", "text_model.encoder.layers."),
)
_RENAMED_IN_LAYER = (
    (r"\.ln_(\d)\.", r".layer_norm\1."),
    (r"\.attn\.out_proj\.", ".self_attn.out_proj."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)
_IN_PROJECTION = re.compile(r"(.+)\.attn\.in_proj_(weight|bias)$")
# No model needs these: the sigmoid loss's bias, constants that old versions saved, OpenAI's sizes.
_NOT_WEIGHTS = re.compile(r"(.*\.)?(logit_bias|position_ids|attn_mask)$|input_resolution$|context_length$|vocab_size$")
#: Apple's first MobileCLIP files; {n} is the layer.
_MOBILECLIP = (
    (r"text_encoder\.embedding_layer\.", "text.token_embedding."),
    (r"text_encoder\.positional_embedding\.pos_embed\.pos_embed$", "text.positional_embedding"),
    (r"text_encoder\.transformer\.(\d+)\.pre_norm_mha\.0\.", r"text.transformer.resblocks.\1.ln_1."),
    (r"text_encoder\.transformer\.(\d+)\.pre_norm_mha\.1\.qkv_proj\.", r"text.transformer.resblocks.\1.attn.in_proj_"),
    (r"text_encoder\.transformer\.(\d+)\.pre_norm_mha\.1\.out_proj\.", r"text.transformer.resblocks.\1.attn.out_proj."),
    (r"text_encoder\.transformer\.(\d+)\.pre_norm_ffn\.0\.", r"text.transformer.resblocks.\1.ln_2."),
    (r"text_encoder\.transformer\.(\d+)\.pre_norm_ffn\.1\.", r"text.transformer.resblocks.\1.mlp.c_fc."),
    (r"text_encoder\.transformer\.(\d+)\.pre_norm_ffn\.4\.", r"text.transformer.resblocks.\1.mlp.c_proj."),
    (r"text_encoder\.final_layer_norm\.", "text.ln_final."),
    (r"text_encoder\.projection_layer$", "text.text_projection"),
)
_OPENAI_SIZES = {"input_resolution", "context_length", "vocab_size"}
_RESNET = {"visual.layer1.0.conv1.weight", "visual.attnpool.positional_embedding"}


def is_clip(state: Mapping[str, Tensor]) -> bool:
    """Whether these are the weights of a CLIP with a vision transformer, in any of the layouts that are read."""
    return "visual.class_embedding" in state or is_hugging_face(state)


def is_clip_resnet(state: Mapping[str, Tensor]) -> bool:
    """Whether these are the weights of a CLIP with a ResNet, in OpenAI's names, which open_clip shares."""
    return state.keys() >= _RESNET


def is_openai(state: Mapping[str, Tensor]) -> bool:
    """Whether these are OpenAI's own weights, as the sizes that only their archives hold give away."""
    return state.keys() >= _OPENAI_SIZES


def convert_clip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames the weights of a CLIP with a vision transformer to transformers' names.

    Three layouts are told apart by their keys: Hugging Face's ``CLIPModel``, which stays as it is; OpenAI's, which
    open_clip shares; and open_clip's with the text tower under ``text.``. `{L}` is ``encoder.layers.N``:

    | OpenAI, open_clip                                | transformers                                        |
    |--------------------------------------------------|-----------------------------------------------------|
    | visual.class_embedding                           | vision_model.embeddings.class_embedding             |
    | visual.conv1.weight                              | vision_model.embeddings.patch_embedding.weight      |
    | visual.positional_embedding                      | vision_model.embeddings.position_embedding.weight   |
    | visual.ln_pre.*, visual.ln_post.*                | vision_model.pre_layrnorm.*, .post_layernorm.*      |
    | visual.proj [D, E]                               | visual_projection.weight [E, D]                     |
    | token_embedding.weight                           | text_model.embeddings.token_embedding.weight        |
    | positional_embedding                             | text_model.embeddings.position_embedding.weight     |
    | ln_final.*                                       | text_model.final_layer_norm.*                       |
    | text_projection [D, E]                           | text_projection.weight [E, D]                       |
    | text_projection.weight [E, D] (a linear layer)   | text_projection.weight                              |
    | (visual.)transformer.resblocks.N.*               | vision_model. or text_model. {L}.*                  |
    | ….ln_1.*, ….ln_2.*                               | ….layer_norm1.*, ….layer_norm2.*                    |
    | ….attn.in_proj_weight [3D, D], in_proj_bias [3D] | ….self_attn.q_proj.*, .k_proj.*, .v_proj.*, in thirds |
    | ….attn.out_proj.*                                | ….self_attn.out_proj.*                              |
    | ….mlp.c_fc.*, ….mlp.c_proj.*                     | ….mlp.fc1.*, ….mlp.fc2.*                            |
    | logit_scale [] or [1]                            | logit_scale []                                      |

    ``logit_bias`` and saved constants are left out; other keys stay as they are. Seldom does a state dict say which
    activation its model had (`is_openai`): OpenAI's have QuickGELU, most of LAION's GELU.

    Raises:
        CheckpointError: the state dict is of none of these layouts, or of a relative of CLIP's.
    """
    refuse_other_images(state)
    refuse_other_text(state)
    if not is_clip(state):
        shown = ", ".join(list(state)[:3])
        raise CheckpointError(
            f"not a CLIP with a vision transformer (its keys: {shown}, …): give weights that OpenAI, open_clip or "
            "Hugging Face published for a CLIP ViT"
        )
    state = {key: value for key, value in state.items() if not _NOT_WEIGHTS.match(key)}
    if SCALE in state:
        state[SCALE] = state[SCALE].reshape(())
    if is_hugging_face(state):
        return state
    converted: dict[str, Tensor] = {}
    for key, value in state.items():
        converted.update(_convert_entry(key.removeprefix("text."), value))
    return converted


def convert_text_tower(state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The text encoder's weights, in transformers' names, of a CLIP with any image encoder, or of its text tower alone.

    Besides the layouts of `convert_clip` these are MobileCLIP's: Apple's first files (``text_encoder.*``) and
    open_clip's (``text.*``).

    Returns:
        None where there is no such tower, or one of other layers than CLIP's.

    Raises:
        CheckpointError: a tower of a relative of CLIP's.
    """
    if is_clip(state):
        return text_part(convert_clip(state))
    tower: dict[str, Tensor] = {}
    for key, value in state.items():
        for pattern, replacement in _MOBILECLIP:
            key, count = re.subn(f"^{pattern}", replacement, key)
            if count:
                value = value.reshape(value.shape[-2:]) if key.endswith("positional_embedding") else value
                break
        if not key.startswith(("visual.", "image_encoder.")) and not _NOT_WEIGHTS.match(key):
            tower.update(_convert_entry(key.removeprefix("text."), value))
    if _WORDS not in tower or TEXT_POSITIONS not in tower:
        return None
    refuse_other_text(state)
    refuse_text_both_ways(state)
    return text_part(tower)


def image_part(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The image encoder's of weights in transformers' names; a convolutional stem belongs to it."""
    return {key: value for key, value in state.items() if key.startswith(_IMAGE)}


def text_part(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The text encoder's of weights in transformers' names."""
    return {key: value for key, value in state.items() if key.startswith(_TEXT)}


def image_sizes(state: Mapping[str, Tensor]) -> dict[str, int]:
    """The sizes of a CLIP's image encoder, from its weights in transformers' names.

    Returns:
        `image_size` and `patch` in pixels, `width`, `layers`, `feed_forward` (the hidden width of its layers) and
        `embed_dim`; nothing where weights are missing that tell them. How many heads there are they do not tell.
    """
    layers = "vision_model.encoder.layers."
    first = f"{layers}0.mlp.fc1.weight"
    if not {_PATCHES, _SHARED, VISION_POSITIONS, first} <= state.keys():
        return {}
    patch = state[_PATCHES].shape[-1]
    return {
        "image_size": patch * math.isqrt(len(state[VISION_POSITIONS]) - 1),
        "patch": patch,
        "width": state[_PATCHES].shape[0],
        "layers": _count_layers(state, layers),
        "feed_forward": len(state[first]),
        "embed_dim": len(state[_SHARED]),
    }


def text_sizes(state: Mapping[str, Tensor]) -> dict[str, int]:
    """The sizes of a CLIP's text encoder, as `image_sizes`: `tokens` and `vocabulary`, no `image_size` and `patch`.

    A tower without a projection has no `embed_dim`.
    """
    layers = "text_model.encoder.layers."
    first = f"{layers}0.mlp.fc1.weight"
    if not {_WORDS, TEXT_POSITIONS, first} <= state.keys():
        return {}
    return {
        "tokens": len(state[TEXT_POSITIONS]),
        "vocabulary": len(state[_WORDS]),
        "width": state[_WORDS].shape[1],
        "layers": _count_layers(state, layers),
        "feed_forward": len(state[first]),
        **({"embed_dim": len(state[_TEXT_SHARED])} if _TEXT_SHARED in state else {}),
    }


def fit_positions(
    state: Mapping[str, Tensor], vision_tokens: int | None = None, text_tokens: int | None = None
) -> dict[str, Tensor]:
    """Fits position embeddings in transformers' names to other sizes.

    Those of patches are interpolated from one square grid to another as open_clip does: bicubic with anti-aliasing, the
    class token's kept as it is, in float32. Those of words are cut to the first `text_tokens`; they are never extended.

    Args:
        state: weights in transformers' names.
        vision_tokens: 1 + patches of the target, a square number of patches; None leaves them as they are.
        text_tokens: words of the target; None leaves them as they are.
    """
    fitted = dict(state)
    if vision_tokens is not None and VISION_POSITIONS in fitted:
        fitted[VISION_POSITIONS] = _resample(fitted[VISION_POSITIONS], vision_tokens)
    if TEXT_POSITIONS in fitted:
        fitted[TEXT_POSITIONS] = fitted[TEXT_POSITIONS][:text_tokens]
    return fitted


def is_hugging_face(state: Mapping[str, Tensor]) -> bool:
    """Whether a CLIP's weights have the names that Hugging Face gives them."""
    return any(key.startswith(("vision_model.", "text_model.")) for key in state)


def _convert_entry(key: str, value: Tensor) -> dict[str, Tensor]:
    if key in _TRANSPOSED:
        return {_TRANSPOSED[key]: value.T.contiguous()}
    for pattern, replacement in _RENAMED:
        renamed, count = re.subn(f"^{pattern}", replacement, key)
        if count:
            break
    if part := _IN_PROJECTION.match(renamed):
        thirds = zip("qkv", value.chunk(3), strict=False)
        return {f"{part[1]}.self_attn.{name}_proj.{part[2]}": third.contiguous() for name, third in thirds}
    for pattern, replacement in _RENAMED_IN_LAYER:
        renamed = re.sub(pattern, replacement, renamed)
    return {renamed: value}


def _resample(positions: Tensor, tokens: int) -> Tensor:
    """Position embeddings [1 + g·g, D] at another grid [tokens, D]; as they are when either grid is not square."""
    old, new = math.isqrt(len(positions) - 1), math.isqrt(tokens - 1)
    if old == new or old * old != len(positions) - 1 or new * new != tokens - 1:
        return positions
    grid = positions[1:].float().unflatten(0, (old, old)).permute(2, 0, 1)[None]
    grid = F.interpolate(grid, size=(new, new), mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([positions[:1].float(), grid[0].permute(1, 2, 0).flatten(0, 1)])


def _count_layers(keys: Iterable[str], prefix: str) -> int:
    return len({key.removeprefix(prefix).split(".")[0] for key in keys if key.startswith(prefix)})
