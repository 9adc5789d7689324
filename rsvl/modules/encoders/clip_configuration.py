"""What Hugging Face's and open_clip's configurations say of a CLIP's two encoders, held against the weights."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import Tensor
from transformers import CLIPConfig, CLIPTextConfig, CLIPVisionConfig

from rsvl.modules.encoders.clip_keys import (
    convert_clip,
    convert_text_tower,
    image_sizes,
    is_clip,
    is_clip_resnet,
    is_hugging_face,
    is_openai,
    text_sizes,
)
from rsvl.modules.encoders.published import Configuration, Told, settings_of, transformer_settings
from rsvl.modules.tokenizers.clip import VOCABULARY_SIZE, clip_tokenizer_json

ACTIVATIONS = ("gelu", "quick_gelu")
"""Of the feed-forward layers, those that CLIPs are published with."""

_SHOWN = 60
_HUGGING_FACE, _OPEN_CLIP = "config.json", "open_clip_config.json"
# What open_clip's parts may say, by field: the values that CLIP has, open_clip's default first.
_ONLY: Mapping[str, tuple[Any, ...]] = {
    "ls_init_value": (None,),
    "attentional_pool": (False,),
    "no_ln_pre": (False,),
    "input_patchnorm": (False,),
    "global_average_pool": (False,),
    "pool_type": (None, "tok", "argmax"),
    "block_type": (None, "default"),
    "qk_norm": (False,),
    "scaled_cosine_attn": (False,),
    "scale_heads": (False,),
    "scale_attn_inner": (False,),
    "scale_attn": (False,),
    "scale_fc": (False,),
    "act_kwargs": (None, {}),
    "timm_model_name": (None,),
    "hf_model_name": (None,),
    "hf_tokenizer_name": (None, "openai/clip-vit-base-patch32", "openai/clip-vit-large-patch14"),
    "tokenizer_kwargs": (None, {}),
    "embed_cls": (False,),
    "no_causal_mask": (False,),
    "proj_bias": (False,),
    "proj_type": (None, "linear"),
    "multimodal_cfg": (None,),
}
# What changes no embedding, or is told by the weights' names and shapes.
_PASSED_OVER = {
    "patch_dropout", "attn_pooler_queries", "attn_pooler_heads", "n_queries", "output_tokens", "pos_embed_type",
    "final_ln_after_pool", "timm_model_pretrained", "timm_pool", "timm_proj", "timm_proj_bias", "timm_drop",
    "timm_drop_path", "pad_id", "eos_id", "tokenizer_mode", "hf_model_pretrained", "hf_proj_type", "hf_pooler_type",
    "custom_text", "init_logit_scale", "init_logit_bias", "nonscalar_logit_scale", "cast_dtype", "output_dict",
}  # fmt: skip
_FOLLOWED = {
    "embed_dim", "quick_gelu", "vision_cfg", "text_cfg", "layers", "width", "head_width", "heads", "mlp_ratio",
    "patch_size", "image_size", "context_length", "vocab_size", "norm_kwargs",
}  # fmt: skip


@dataclass(frozen=True)
class _Part:
    """An encoder as a file describes it.

    Attributes:
        file: its name.
        told: the sizes that it tells, by the names of its fields.
        weights: those of the weights, by the same names.
        settings: what the weights do not tell.
    """

    file: str
    told: dict[str, Any]
    weights: dict[str, Any]
    settings: dict[str, str]


def told_of_images(state: Mapping[str, Tensor], configuration: Configuration) -> Told:
    """What is said of a CLIP's image encoder: `heads`, `layer_norm_eps`, `activation`.

    Args:
        state: the tensors of a published CLIP.
        configuration: what lies beside them.

    Raises:
        CheckpointError: a configuration that is damaged, contradicts the weights or says what rsvl's CLIP cannot do.
    """
    return _told(state, configuration, "vision", image_sizes(convert_clip(_shapes(state))) if is_clip(state) else {})


def told_of_resnet(sizes: Mapping[str, Any], configuration: Configuration) -> Told:
    """What is said of the ResNet of a CLIP: `heads` of its attention pool, by open_clip alone; see `told_of_images`.

    Args:
        sizes: its `image_size`, `width`, `layers` (blocks per stage) and `embed_dim`; nothing where they are not known.
        configuration: what lies beside the weights.
    """
    part = _open_clip(configuration, "vision", sizes) if sizes else None
    kept = {"image_size": sizes["image_size"]} if sizes else {}
    if part is None:
        return Told({}, kept)
    configuration.check(part.file, part.told, part.weights)
    return Told({"heads": part.settings["heads"]}, kept)


def told_of_text(state: Mapping[str, Tensor], configuration: Configuration) -> Told:
    """What is said of a CLIP's text encoder, see `told_of_images`; a tokenizer of other words is refused, too."""
    sizes = text_sizes(convert_text_tower(_shapes(state)) or {})
    if sizes.get("vocabulary") == VOCABULARY_SIZE:
        _check_tokenizer(configuration)
    return _told(state, configuration, "text", sizes)


def _shapes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without their numbers."""
    return {key: value.to("meta") for key, value in state.items()}


def _told(state: Mapping[str, Tensor], configuration: Configuration, which: str, sizes: Mapping[str, int]) -> Told:
    if not sizes:
        return Told()
    kept = {name: sizes[name] for name in ("image_size", "tokens") if name in sizes}
    part = _part(configuration, which, sizes, hugging_face_first=is_hugging_face(state))
    if part is None:
        if is_openai(state):
            return Told({"activation": "quick_gelu"}, kept)
        whole = is_clip(state) or is_clip_resnet(state)  # towers alone are published for one model
        return Told({}, kept, ("activation",) if whole else ())
    configuration.check(part.file, part.told, part.weights)
    try:
        transformer_settings(part.settings, sizes["width"], ACTIVATIONS)
    except ValueError as error:
        raise configuration.refusal(part.file, f"{error} is not supported: give weights of a usual CLIP") from None
    return Told(part.settings, kept)


def _part(configuration: Configuration, which: str, sizes: Mapping[str, int], hugging_face_first: bool) -> _Part | None:
    """The description by the configuration that belongs to the weights' layout, or else by the other."""
    readers = (_hugging_face, _open_clip) if hugging_face_first else (_open_clip, _hugging_face)
    found = (reader(configuration, which, sizes) for reader in readers)
    return next((part for part in found if part is not None), None)


def _hugging_face(configuration: Configuration, which: str, sizes: Mapping[str, int]) -> _Part | None:
    config = _hugging_face_config(configuration, which)
    if config is None:
        return None
    names = {"hidden_size": "width", "num_hidden_layers": "layers", "intermediate_size": "feed_forward"}
    if which == "vision":
        names |= {"image_size": "image_size", "patch_size": "patch"}
    else:
        names |= {"max_position_embeddings": "tokens", "vocab_size": "vocabulary"}
        _check_end(config, configuration)
    return _Part(
        _HUGGING_FACE,
        told={field: _side(getattr(config, field)) for field in names},
        weights={field: sizes[size] for field, size in names.items() if size in sizes},
        settings=settings_of(config),
    )


def _hugging_face_config(configuration: Configuration, which: str) -> Any:
    """Transformers' configuration of the encoder, with its defaults; None where the file describes no CLIP."""
    described = configuration.files.get(_HUGGING_FACE)
    if described is None:
        return None
    kind, alone = described.get("model_type"), f"clip_{which}_model"
    if kind not in (None, "clip", alone):
        raise configuration.refusal(_HUGGING_FACE, f"model_type is {kind!r}, not 'clip': give weights of a CLIP")
    if kind is None and not {"vision_config", "text_config"} & described.keys():
        return None  # timm's, which describes a file for timm
    try:
        if kind == alone:
            return (CLIPVisionConfig if which == "vision" else CLIPTextConfig).from_dict(dict(described))
        return getattr(CLIPConfig.from_dict(dict(described)), f"{which}_config")
    except Exception as error:  # the library raises what it likes for values that it cannot use
        reason = (str(error).splitlines() or [type(error).__name__])[-1].strip()
        problem = f"cannot be read as a CLIP's configuration ({reason}): download it again"
        raise configuration.refusal(_HUGGING_FACE, problem) from None


def _check_end(config: Any, configuration: Configuration) -> None:
    """The sentence's embedding is that of the end token, which has the highest id; 2 stands for that, too."""
    if config.eos_token_id not in (2, config.vocab_size - 1):
        problem = f"eos_token_id is {config.eos_token_id}: rsvl takes the last of {config.vocab_size}, as CLIP does"
        raise configuration.refusal(_HUGGING_FACE, problem)


def _open_clip(configuration: Configuration, which: str, sizes: Mapping[str, int]) -> _Part | None:
    described = configuration.files.get(_OPEN_CLIP)
    if described is None:
        return None
    model = _object(described, "model_cfg", configuration)
    part = _object(model, f"{which}_cfg", configuration)
    for field, value in (*model.items(), *part.items()):
        if field not in _FOLLOWED | _PASSED_OVER and value not in _ONLY.get(field, ()):
            raise configuration.refusal(_OPEN_CLIP, f"{field} is {_short(value)}: {_why(field)}")
    try:
        return _open_clip_part(model, part, which, sizes)
    except (TypeError, ValueError, ZeroDivisionError) as error:
        problem = f"cannot be read as a CLIP's configuration ({error}): download it again"
        raise configuration.refusal(_OPEN_CLIP, problem) from None


def _open_clip_part(model: Mapping[str, Any], part: Mapping[str, Any], which: str, sizes: Mapping[str, int]) -> _Part:
    width = int(part.get("width", 768 if which == "vision" else 512))
    if isinstance(part.get("layers"), list):
        return _open_clip_resnet(model, part, width, sizes)
    names = {"embed_dim": "embed_dim", "width": "width", "layers": "layers", "mlp_ratio": "feed_forward"}
    told: dict[str, Any] = {
        "embed_dim": model.get("embed_dim"),
        "width": width,
        "layers": part.get("layers", 12),
        "mlp_ratio": int(width * float(part.get("mlp_ratio", 4.0))),
    }
    if which == "vision":
        told |= {"patch_size": _side(part.get("patch_size", 16)), "image_size": _side(part.get("image_size", 224))}
        names |= {"patch_size": "patch", "image_size": "image_size"}
        heads = width // int(part.get("head_width", 64))
    else:
        told |= {"context_length": part.get("context_length", 77), "vocab_size": part.get("vocab_size", 49408)}
        names |= {"context_length": "tokens", "vocab_size": "vocabulary"}
        heads = int(part.get("heads", 8))
    eps = dict(part.get("norm_kwargs") or {}).get("eps", 1e-5)
    activation = "quick_gelu" if model.get("quick_gelu") else "gelu"
    weights = {field: sizes[size] for field, size in names.items() if size in sizes}
    settings = {"heads": str(heads), "layer_norm_eps": str(eps), "activation": activation}
    return _Part(_OPEN_CLIP, told, weights, settings)


def _open_clip_resnet(model: Mapping[str, Any], part: Mapping[str, Any], width: int, sizes: Mapping[str, Any]) -> _Part:
    told = {
        "embed_dim": model.get("embed_dim"),
        "width": width,
        "layers": tuple(part["layers"]),
        "image_size": _side(part.get("image_size", 224)),
    }
    heads = 32 * width // int(part.get("head_width", 64))
    return _Part(_OPEN_CLIP, told, {field: sizes[field] for field in told if field in sizes}, {"heads": str(heads)})


def _why(field: str) -> str:
    """Why a field of open_clip's cannot be as it is, and what to do."""
    if field == "hf_model_name":
        return "its text encoder and tokenizer are not CLIP's; give a CLIP with CLIP's own text encoder"
    if field in ("hf_tokenizer_name", "tokenizer_kwargs"):
        return "its tokenizer is not CLIP's; give a CLIP with CLIP's own"
    if field == "timm_model_name":
        return "its image encoder is not CLIP's; give a CLIP with CLIP's own vision transformer"
    return "rsvl's CLIP has no such thing; give weights of a usual CLIP"


def _object(described: Mapping[str, Any], name: str, configuration: Configuration) -> Mapping[str, Any]:
    value = described.get(name)
    if not isinstance(value, Mapping):
        raise configuration.refusal(_OPEN_CLIP, f"its {name} is no object: download it again")
    return value


def _side(value: Any) -> Any:
    """A side in pixels, given as one number or as two that are equal."""
    return value[0] if isinstance(value, list | tuple) and len(value) == 2 and value[0] == value[1] else value


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _check_tokenizer(configuration: Configuration) -> None:
    """Refuses a tokenizer whose ids stand for other words than those of CLIP's."""
    for file, words in _vocabularies(configuration):
        known = _clip_vocabulary()
        if len(words) != len(known):
            problem = f"{len(words)} tokens, CLIP's tokenizer has {len(known)}"
        elif words != known:
            other = next(word for word, index in words.items() if known.get(word) != index)
            problem = f"{_short(other)} is token {words[other]}, in CLIP's tokenizer {known.get(other, 'none')}"
        else:
            continue
        raise configuration.refusal(file, f"{problem}: give weights that were trained with CLIP's tokenizer")


def _vocabularies(configuration: Configuration) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each file of tokens with its words and their ids; the tokenizer is not built, which a stranger's could abuse."""
    if (described := configuration.files.get("vocab.json")) is not None:
        yield "vocab.json", dict(described)
    if (described := configuration.files.get("tokenizer.json")) is not None:
        try:
            added = {token["content"]: token["id"] for token in described.get("added_tokens") or ()}
            yield "tokenizer.json", dict(described["model"]["vocab"]) | added
        except (TypeError, KeyError, ValueError):
            raise configuration.refusal("tokenizer.json", "is not a tokenizer: download it again") from None


@cache
def _clip_vocabulary() -> dict[str, int]:
    described = json.loads(clip_tokenizer_json())
    return described["model"]["vocab"] | {token["content"]: token["id"] for token in described["added_tokens"]}
