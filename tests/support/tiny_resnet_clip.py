"""A small CLIP with a ResNet in OpenAI's names, and what it answers: PyTorch's own layers in the paper's order."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.support.tiny_clip import OpenAICLIP, randomised

BLOCKS, WIDTH, HEADS, SIDE = (1, 2, 1, 1), 8, 4, 64
IMAGES = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


class ResNetCLIP(OpenAICLIP):
    """Images of 64×64, stages of 1, 2, 1 and 1 blocks over a stem of 8 channels; its text encoder is `OpenAICLIP`'s."""

    def __init__(self, quick: bool = True) -> None:
        super().__init__(quick=quick)
        self.visual = _ResNet()  # type: ignore[assignment]


def random_resnet_clip(quick: bool = True) -> nn.Module:
    """One in evaluation mode, random in every weight, but so that what an image shows is not lost on the way."""
    model = randomised(ResNetCLIP(quick))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data += 1
        elif isinstance(module, nn.Conv2d):
            module.weight.data *= 4 / module.weight[0].numel() ** 0.5
    return model


class _ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, WIDTH // 2, 3, 2, 1, bias=False), _norm(WIDTH // 2)
        self.conv2, self.bn2 = nn.Conv2d(WIDTH // 2, WIDTH // 2, 3, 1, 1, bias=False), _norm(WIDTH // 2)
        self.conv3, self.bn3 = nn.Conv2d(WIDTH // 2, WIDTH, 3, 1, 1, bias=False), _norm(WIDTH)
        before = WIDTH
        for stage, count in enumerate(BLOCKS):
            width, stride = WIDTH * 2**stage, 2 if stage else 1
            blocks = [
                _Block(before if not index else 4 * width, width, 1 if index else stride) for index in range(count)
            ]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
            before = 4 * width
        self.attnpool = _Pool(before)

    def forward(self, x: Tensor) -> Tensor:
        for number in "123":
            x = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(x)).relu()
        x = F.avg_pool2d(x, 2)
        return self.attnpool(self.layer4(self.layer3(self.layer2(self.layer1(x)))))  # type: ignore[operator]


class _Block(nn.Module):
    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, width, 1, bias=False), _norm(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), _norm(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), _norm(4 * width)
        self.stride, self.downsample = stride, None
        if before != 4 * width:
            pool, conv = nn.AvgPool2d(stride), nn.Conv2d(before, 4 * width, 1, bias=False)
            self.downsample = nn.Sequential()
            for name, layer in (("-1", pool), ("0", conv), ("1", _norm(4 * width))):
                self.downsample.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
        y = self.bn3(self.conv3(F.avg_pool2d(y, self.stride)))
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class _Pool(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.zeros((SIDE // 32) ** 2 + 1, width))
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, width) for _ in range(3))
        self.c_proj = nn.Linear(width, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2).permute(2, 0, 1)
        x = torch.cat([x.mean(0, keepdim=True), x]) + self.positional_embedding[:, None]
        inputs = self.q_proj, self.k_proj, self.v_proj
        weights: dict[str, Any] = {
            f"{name}_proj_weight": layer.weight for name, layer in zip("qkv", inputs, strict=True)
        }
        bias = torch.cat([layer.bias for layer in inputs])
        pooled, _ = F.multi_head_attention_forward(
            x[:1], x, x, x.shape[-1], HEADS, None, bias, None, None, False, 0.0, self.c_proj.weight, self.c_proj.bias,
            use_separate_proj_weight=True, training=False, need_weights=False, **weights,
        )  # fmt: skip
        return pooled[0]


def _norm(width: int) -> nn.BatchNorm2d:
    """A batch norm whose running statistics are not those that it starts with."""
    norm = nn.BatchNorm2d(width)
    norm.running_mean, norm.running_var = torch.linspace(-0.3, 0.3, width), torch.linspace(0.5, 1.5, width)
    return norm
