"""A small CRIS in its authors' names, and what their network answers: functions of a state dict, in float64."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rsvl.models.cris import CRIS, Preset
from rsvl.modules.encoders.clip_resnet import ResNetSizes
from rsvl.runtime.manifest import ImageSpec

State = dict[str, Tensor]

SIZE, TOKENS, EMBED, TEXT, LOW, WIDTH, HIGH, HEADS = 96, 7, 12, 16, 4, 16, 20, 2
BLOCKS, STEM, GRID = (1, 2, 1, 1), 8, 2
PRESET = Preset(
    image=ImageSpec(SIZE, (0.5,) * 3, (0.25,) * 3, letterbox=(128, 127, 126)),
    tokens=TOKENS,
    vision=ResNetSizes(BLOCKS, width=STEM, heads=4, grid=GRID),
    text=(TEXT, 2, 2),
    vocabulary=1024,
    embed_dim=EMBED,
    levels=(LOW, WIDTH, HIGH),
    heads=HEADS,
    hidden=24,
    layers=2,
)


def small_cris() -> CRIS:
    """The model of these sizes, with random weights, in evaluation mode."""
    torch.manual_seed(0)
    return CRIS("cris", PRESET).eval()


def released_state() -> State:
    """Random entries of the authors' checkpoint, in these sizes and in their order of parts."""
    generator = torch.Generator().manual_seed(0)
    state: State = {}

    def add(name: str, *shape: int) -> None:
        fan_in = max(1, math.prod(shape[1:]))
        state[name] = torch.randn(shape, generator=generator) * (1.4 / math.sqrt(fan_in) if len(shape) > 1 else 0.2)

    def norm(name: str, width: int, running: bool = True) -> None:
        state[f"{name}.weight"] = 1 + 0.2 * torch.randn(width, generator=generator)
        add(f"{name}.bias", width)
        if running:
            add(f"{name}.running_mean", width)
            state[f"{name}.running_var"] = 0.5 + torch.rand(width, generator=generator)
            state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def linear(name: str, out: int, into: int) -> None:
        add(f"{name}.weight", out, into)
        add(f"{name}.bias", out)

    def conv(name: str, out: int, into: int, side: int) -> None:
        add(f"{name}.0.weight", out, into, side, side)
        norm(f"{name}.1", out)

    def attention(name: str, width: int) -> None:
        add(f"{name}.in_proj_weight", 3 * width, width)
        add(f"{name}.in_proj_bias", 3 * width)
        linear(f"{name}.out_proj", width, width)

    _add_backbone(add, norm, linear, conv, attention)
    for name, out, into, side in (
        ("f1_v_proj", HIGH, EMBED, 1),
        ("f2_v_proj", WIDTH, 16 * STEM, 3),
        ("f2_cat", WIDTH, WIDTH + HIGH, 1),
        ("f3_v_proj", LOW, 8 * STEM, 3),
        ("f3_cat", WIDTH, LOW + WIDTH, 1),
        ("f4_proj5", WIDTH, HIGH, 3),
        ("f4_proj4", WIDTH, WIDTH, 3),
        ("f4_proj3", WIDTH, WIDTH, 3),
        ("aggr", WIDTH, 3 * WIDTH, 1),
        ("coordconv.0.conv1", WIDTH, WIDTH + 2, 3),
        ("coordconv.1", WIDTH, WIDTH, 3),
    ):
        conv(f"neck.{name}", out, into, side)
    add("neck.txt_proj.0.weight", HIGH, EMBED)
    norm("neck.txt_proj.1", HIGH)
    norm("neck.norm_layer.0", HIGH)
    for layer in (f"decoder.layers.{index}" for index in range(PRESET.layers)):
        for part in ("self_attn_norm", "cross_attn_norm", "norm1", "norm2", "norm3"):
            norm(f"{layer}.{part}", WIDTH, running=False)
        attention(f"{layer}.self_attn", WIDTH)
        attention(f"{layer}.multihead_attn", WIDTH)
        linear(f"{layer}.ffn.0", PRESET.hidden, WIDTH)
        norm(f"{layer}.ffn.3", PRESET.hidden, running=False)
        linear(f"{layer}.ffn.4", WIDTH, PRESET.hidden)
    norm("decoder.norm", WIDTH, running=False)
    conv("proj.vis.1", WIDTH, WIDTH, 3)
    conv("proj.vis.3", WIDTH // 2, WIDTH, 3)
    add("proj.vis.4.weight", WIDTH // 2, WIDTH // 2, 1, 1)
    add("proj.vis.4.bias", WIDTH // 2)
    linear("proj.txt", 9 * WIDTH // 2 + 1, EMBED)
    return state


def _add_backbone(add: Any, norm: Any, linear: Any, conv: Any, attention: Any) -> None:
    visual, half, last = "backbone.visual", STEM // 2, 32 * STEM
    for number, (into, out) in enumerate([(3, half), (half, half), (half, STEM)], 1):
        add(f"{visual}.conv{number}.weight", out, into, 3, 3)
        norm(f"{visual}.bn{number}", out)
    into = STEM
    for stage, blocks in enumerate(BLOCKS):
        width = STEM * 2**stage
        for block in (f"{visual}.layer{stage + 1}.{index}" for index in range(blocks)):
            for number, (a, b, side) in enumerate([(into, width, 1), (width, width, 3), (width, 4 * width, 1)], 1):
                add(f"{block}.conv{number}.weight", b, a, side, side)
                norm(f"{block}.bn{number}", b)
            if block.endswith(".0"):
                conv(f"{block}.downsample", 4 * width, into, 1)
            into = 4 * width
    add(f"{visual}.attnpool.positional_embedding", GRID**2 + 1, last)
    for name in "kqv":
        linear(f"{visual}.attnpool.{name}_proj", last, last)
    linear(f"{visual}.attnpool.c_proj", EMBED, last)
    conv(f"{visual}.attnpool.connect", EMBED, last, 1)
    add("backbone.token_embedding.weight", PRESET.vocabulary, TEXT)
    add("backbone.positional_embedding", 77, TEXT)
    for block in (f"backbone.transformer.resblocks.{index}" for index in range(PRESET.text[1])):
        attention(f"{block}.attn", TEXT)
        norm(f"{block}.ln_1", TEXT, running=False)
        norm(f"{block}.ln_2", TEXT, running=False)
        linear(f"{block}.mlp.c_fc", 4 * TEXT, TEXT)
        linear(f"{block}.mlp.c_proj", TEXT, 4 * TEXT)
    norm("backbone.ln_final", TEXT, running=False)
    add("backbone.text_projection", TEXT, EMBED)
    add("backbone.logit_scale")


def write_released(state: State, path: Path) -> None:
    """A file as the authors' training writes it, with an optimizer and a scheduler whose milestones are a Counter."""
    moments = {index: {"exp_avg": torch.zeros(value.shape)} for index, value in enumerate(state.values())}
    file = {
        "epoch": 50,
        "cur_iou": 0.69,
        "best_iou": 0.7,
        "prec": {"Pr@50": 0.8},
        "state_dict": {f"module.{name}": value for name, value in state.items()},
        "optimizer": {"state": moments, "param_groups": [{"lr": 1e-4, "params": list(moments)}]},
        "scheduler": {"milestones": Counter({35: 1}), "gamma": 0.1, "last_epoch": 50},
    }
    torch.save(file, path)


class Answer:
    """The network of the facts' description, step by step, from a state dict in the authors' names."""

    def __init__(self, state: State) -> None:
        self.state = {name: value.double() for name, value in state.items()}

    def __call__(self, image: Tensor, tokens: Tensor) -> Tensor:
        """Images [B, 3, S, S] and tokens [B, T] → logits [B, 1, S / 4, S / 4], all float64."""
        v3, v4, v5 = self.maps(image)
        words, sentence = self.text(tokens)
        x = self.neck(v3, v4, v5, sentence)
        return self.project(self.decode(x, words, tokens == 0), sentence)

    def maps(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        visual, x = "backbone.visual", image.double()
        for number in (1, 2, 3):
            x = F.conv2d(x, self.state[f"{visual}.conv{number}.weight"], stride=2 if number == 1 else 1, padding=1)
            x = self.norm(f"{visual}.bn{number}", x).relu()
        x, maps = F.avg_pool2d(x, 2), []
        for stage, blocks in enumerate(BLOCKS):
            for index in range(blocks):
                x = self.block(f"{visual}.layer{stage + 1}.{index}", x, 2 if stage and not index else 1)
            maps.append(x)
        attended = self.pool(x)
        return maps[1], maps[2], (attended + self.conv(f"{visual}.attnpool.connect", x, relu=False)).relu()

    def block(self, name: str, x: Tensor, stride: int) -> Tensor:
        y = self.norm(f"{name}.bn1", F.conv2d(x, self.state[f"{name}.conv1.weight"])).relu()
        y = self.norm(f"{name}.bn2", F.conv2d(y, self.state[f"{name}.conv2.weight"], padding=1)).relu()
        y = F.avg_pool2d(y, stride)
        y = self.norm(f"{name}.bn3", F.conv2d(y, self.state[f"{name}.conv3.weight"]))
        if f"{name}.downsample.0.weight" in self.state:
            x = self.conv(f"{name}.downsample", F.avg_pool2d(x, stride), relu=False)
        return (y + x).relu()

    def pool(self, x: Tensor) -> Tensor:
        name, size = "backbone.visual.attnpool", x.shape[-2:]
        grid = self.state[f"{name}.positional_embedding"][1:].T.reshape(1, -1, GRID, GRID)
        places = F.interpolate(grid, size=size, mode="bicubic", align_corners=False).flatten(2).permute(2, 0, 1)
        tokens = x.flatten(2).permute(2, 0, 1) + places
        weights = [self.state[f"{name}.{part}_proj.weight"] for part in "qkv"]
        bias = torch.cat([self.state[f"{name}.{part}_proj.bias"] for part in "qkv"])
        out = self.state[f"{name}.c_proj.weight"], self.state[f"{name}.c_proj.bias"]
        attended, _ = F.multi_head_attention_forward(
            tokens, tokens, tokens, x.shape[1], PRESET.vision.heads, None, bias, None, None, False, 0.0, *out,
            use_separate_proj_weight=True, training=False, need_weights=False,
            q_proj_weight=weights[0], k_proj_weight=weights[1], v_proj_weight=weights[2],
        )  # fmt: skip
        return attended.permute(1, 2, 0).reshape(x.shape[0], -1, *size)

    def text(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        count = tokens.shape[1]
        x = self.state["backbone.token_embedding.weight"][tokens] + self.state["backbone.positional_embedding"][:count]
        causal = torch.full((count, count), -torch.inf, dtype=torch.float64).triu(1)
        for block in (f"backbone.transformer.resblocks.{index}" for index in range(PRESET.text[1])):
            y = self.layer_norm(f"{block}.ln_1", x)
            x = x + self.attend(f"{block}.attn", y, y, y, 2, mask=causal)
            y = self.linear(f"{block}.mlp.c_fc", self.layer_norm(f"{block}.ln_2", x))
            x = x + self.linear(f"{block}.mlp.c_proj", y * (1.702 * y).sigmoid())
        words = self.layer_norm("backbone.ln_final", x)
        end = words[torch.arange(len(tokens)), tokens.argmax(1)]
        return words, end @ self.state["backbone.text_projection"]

    def neck(self, v3: Tensor, v4: Tensor, v5: Tensor, sentence: Tensor) -> Tensor:
        gain = self.norm("neck.txt_proj.1", sentence @ self.state["neck.txt_proj.0.weight"].T).relu()
        f5 = self.norm("neck.norm_layer.0", self.conv("neck.f1_v_proj", v5) * gain[..., None, None]).relu()
        f4 = self.conv("neck.f2_cat", torch.cat([self.conv("neck.f2_v_proj", v4), _doubled(f5)], 1))
        f3 = F.avg_pool2d(self.conv("neck.f3_v_proj", v3), 2)
        f3 = self.conv("neck.f3_cat", torch.cat([f3, f4], 1))
        q5, q4, q3 = (self.conv(f"neck.f4_proj{n}", f) for n, f in ((5, f5), (4, f4), (3, f3)))
        x = self.conv("neck.aggr", torch.cat([q3, q4, _doubled(q5)], 1))
        height, width = x.shape[-2:]
        place = torch.empty(len(x), 2, height, width, dtype=torch.float64)
        for row in range(height):
            for column in range(width):
                place[:, 0, row, column] = 2 * column / (width - 1) - 1
                place[:, 1, row, column] = 2 * row / (height - 1) - 1
        return self.conv("neck.coordconv.1", self.conv("neck.coordconv.0.conv1", torch.cat([x, place], 1)))

    def decode(self, x: Tensor, words: Tensor, padding: Tensor) -> Tensor:
        size = x.shape[-2:]
        cells = [(row, column) for row in range(size[0]) for column in range(size[1])]
        places = torch.tensor([_waves(column, WIDTH // 2) + _waves(row, WIDTH // 2) for row, column in cells]).double()
        placed_words = words + torch.tensor([_waves(index, WIDTH) for index in range(words.shape[1])]).double()
        x = x.flatten(2).transpose(1, 2)
        for name in (f"decoder.layers.{index}" for index in range(PRESET.layers)):
            y = self.layer_norm(f"{name}.norm1", x)
            y = self.attend(f"{name}.self_attn", y + places, y + places, y, HEADS)
            x = x + self.layer_norm(f"{name}.self_attn_norm", y)
            y = self.layer_norm(f"{name}.norm2", x) + places
            y = self.attend(f"{name}.multihead_attn", y, placed_words, words, HEADS, padding=padding)
            x = x + self.layer_norm(f"{name}.cross_attn_norm", y)
            y = self.linear(f"{name}.ffn.0", self.layer_norm(f"{name}.norm3", x)).relu()
            x = x + self.linear(f"{name}.ffn.4", self.layer_norm(f"{name}.ffn.3", y))
        return self.layer_norm("decoder.norm", x).transpose(1, 2).reshape(len(x), -1, *size)

    def project(self, x: Tensor, sentence: Tensor) -> Tensor:
        x = self.conv("proj.vis.3", _doubled(self.conv("proj.vis.1", _doubled(x))))
        x = F.conv2d(x, self.state["proj.vis.4.weight"], self.state["proj.vis.4.bias"])
        kernels = self.linear("proj.txt", sentence)
        logits = [
            F.conv2d(one[None], kernel[:-1].reshape(1, -1, 3, 3), kernel[-1:], padding=1)
            for one, kernel in zip(x, kernels, strict=True)
        ]
        return torch.cat(logits)

    def conv(self, name: str, x: Tensor, relu: bool = True) -> Tensor:
        weight = self.state[f"{name}.0.weight"]
        x = self.norm(f"{name}.1", F.conv2d(x, weight, padding=weight.shape[-1] // 2))
        return x.relu() if relu else x

    def norm(self, name: str, x: Tensor) -> Tensor:
        parts = [self.state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        mean, variance, weight, bias = (part.reshape(-1, *[1] * (x.dim() - 2)) for part in parts)
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    def layer_norm(self, name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def attend(
        self,
        name: str,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        heads: int,
        mask: Tensor | None = None,
        padding: Tensor | None = None,
    ) -> Tensor:
        query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        parts = [self.state[f"{name}.{part}"] for part in ("in_proj_weight", "in_proj_bias")]
        out = [self.state[f"{name}.out_proj.{part}"] for part in ("weight", "bias")]
        attended, _ = F.multi_head_attention_forward(
            query, key, value, query.shape[-1], heads, *parts, None, None, False, 0.0, *out,
            training=False, key_padding_mask=padding, need_weights=False, attn_mask=mask,
        )  # fmt: skip
        return attended.transpose(0, 1)


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def _waves(place: int, width: int) -> list[float]:
    return [wave(place / 10000 ** (2 * pair / width)) for pair in range(width // 2) for wave in (math.sin, math.cos)]
