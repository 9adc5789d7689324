"""Small CLIPs to make checkpoints of: transformers' own, one as OpenAI defines it, the encoders as rsvl has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel

from rsvl.modules.encoders.clip import CLIPImageEncoder, CLIPTextEncoder

State = dict[str, Tensor]
OPEN_CLIP_FILE = "open_clip_model.safetensors"
# Start 60, end 61, padding 0.
TOKENS = torch.tensor([[60, 5, 9, 61, 0, 0, 0], [60, 7, 61, 0, 0, 0, 0]])
IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def clip_config(**vision: int) -> CLIPConfig:
    """A configuration whose widths all differ: images 16×16 in patches of 4, sentences of 7 ids out of 62."""
    shared = {"num_hidden_layers": 2, "num_attention_heads": 2}
    return CLIPConfig(
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 64,
            "image_size": 16,
            "patch_size": 4,
            **shared,
            **vision,
        },
        text_config={
            "hidden_size": 12,
            "intermediate_size": 48,
            "vocab_size": 62,
            "max_position_embeddings": 7,
            "eos_token_id": 61,
            "bos_token_id": 60,
            "pad_token_id": 0,
            **shared,
        },
        projection_dim=8,
    )


class Encoders(nn.Module):
    """A model with CLIP encoders at the places where rsvl's models have them, and one layer of its own."""

    def __init__(self, config: CLIPConfig) -> None:
        super().__init__()
        self.image_encoder = CLIPImageEncoder(config.vision_config, config.projection_dim)
        self.text_encoder = CLIPTextEncoder(config.text_config, config.projection_dim)
        self.head = nn.Linear(3, 2)

    def features(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Projected image and sentence features, as CLIP compares them."""
        states, _ = self.image_encoder(images)
        pooled = self.image_encoder.vision_model.post_layernorm(states[-1][:, 0])
        return self.image_encoder.visual_projection(pooled), self.text_encoder(tokens)[1]


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, eps: float, quick: bool) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width, eps), nn.LayerNorm(width, eps)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.quick = quick
        self.mlp = nn.Module()
        self.mlp.c_fc, self.mlp.c_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, attn_mask=mask, need_weights=False)[0]
        hidden = self.mlp.c_fc(self.ln_2(x))
        active = hidden * torch.sigmoid(1.702 * hidden) if self.quick else nn.functional.gelu(hidden)
        return x + self.mlp.c_proj(active)


class _Transformer(nn.Module):
    def __init__(self, width: int, *layers: Any) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList([_Block(width, *layers), _Block(width, *layers)])

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for block in self.resblocks:
            x = block(x, mask)
        return x


class _Visual(nn.Module):
    def __init__(self, heads: int, eps: float, quick: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 4, 4, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(16))
        self.positional_embedding = nn.Parameter(torch.zeros(17, 16))
        self.ln_pre, self.ln_post = nn.LayerNorm(16, eps), nn.LayerNorm(16, eps)
        self.transformer = _Transformer(16, heads, eps, quick)
        self.proj = nn.Parameter(torch.zeros(16, 8))

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv1(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], dim=1) + self.positional_embedding
        return self.ln_post(self.transformer(self.ln_pre(x))[:, 0]) @ self.proj


class OpenAICLIP(nn.Module):
    """CLIP with the parameters, names and formulas of OpenAI's release (`clip/model.py`), sized as `clip_config()`.

    The heads of both encoders, the epsilon of all norms and the activation may be others, as open_clip has them.
    """

    def __init__(self, heads: tuple[int, int] = (2, 2), eps: float = 1e-5, quick: bool = True) -> None:
        super().__init__()
        self.visual = _Visual(heads[0], eps, quick)
        self.token_embedding = nn.Embedding(62, 12)
        self.positional_embedding = nn.Parameter(torch.zeros(7, 12))
        self.transformer = _Transformer(12, heads[1], eps, quick)
        self.ln_final = nn.LayerNorm(12, eps)
        self.text_projection = nn.Parameter(torch.zeros(12, 8))
        self.logit_scale = nn.Parameter(torch.zeros(()))
        self.register_buffer("input_resolution", torch.tensor(16))

    def features(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Projected image and sentence features."""
        x = self.token_embedding(tokens) + self.positional_embedding
        x = self.ln_final(self.transformer(x, torch.full((7, 7), -torch.inf).triu(1)))
        return self.visual(images), x[torch.arange(len(x)), tokens.argmax(-1)] @ self.text_projection


def randomised(model: nn.Module) -> nn.Module:
    """The model in evaluation mode with every parameter random, so that no bias or gain is at its neutral value."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return model.eval()


def openai_state() -> State:
    """A state dict in OpenAI's layout."""
    return dict(randomised(OpenAICLIP()).state_dict())


def open_clip_config(**model: Any) -> dict[str, Any]:
    """What open_clip writes beside weights of these sizes, with changes to its `model_cfg`."""
    vision = {"image_size": 16, "layers": 2, "width": 16, "head_width": 8, "patch_size": 4}
    text = {"context_length": 7, "vocab_size": 62, "width": 12, "heads": 2, "layers": 2}
    pixels = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}
    shown = {"interpolation": "bicubic", "resize_mode": "squash"}
    cfg = {"embed_dim": 8, "vision_cfg": vision, "text_cfg": text, **model}
    return {"model_cfg": cfg, "preprocess_cfg": {**pixels, **shown}}


def write_open_clip_folder(folder: Path, model: nn.Module | None = None, **model_cfg: Any) -> None:
    """Weights in OpenAI's names with open_clip's configuration, as open_clip publishes them."""
    state = openai_state() if model is None else dict(model.state_dict())
    save_file({key: value for key, value in state.items() if key != "input_resolution"}, folder / OPEN_CLIP_FILE)
    (folder / "open_clip_config.json").write_text(json.dumps(open_clip_config(**model_cfg)))


def hugging_face_state() -> State:
    """A state dict in Hugging Face's layout."""
    return dict(randomised(CLIPModel(clip_config())).state_dict())
