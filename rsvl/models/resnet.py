"""ResNet-18 for scene classification: the baseline that other classifiers are measured beside.

He et al., "Deep Residual Learning for Image Recognition", 2016, table 1: a 7×7 convolution of stride 2, a max pool,
four stages of two blocks of two 3×3 convolutions, the mean, a linear layer. The names in the state dict are
torchvision's, so that its checkpoints of `resnet18` can be read.

The preset takes EuroSAT's 64 × 64 images and normalises by their statistics; a checkpoint that learned from ImageNet's
224 × 224 was normalised by others.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.modules.bases.classification import EUROSAT_MEAN, EUROSAT_STD, ClassificationModel, classification_spec
from rsvl.registry import register
from rsvl.runtime.manifest import ImageSpec


@dataclass(frozen=True)
class Preset:
    """Sizes of a ResNet: the input's side in pixels, its mean and standard deviation, the stages' widths, classes."""

    image_size: int = 64
    mean: tuple[float, ...] = EUROSAT_MEAN
    std: tuple[float, ...] = EUROSAT_STD
    widths: tuple[int, ...] = (64, 128, 256, 512)
    classes: int = 10


@register("resnet", presets={"resnet18": Preset()})
class ResNet(ClassificationModel):
    """The model, built from a preset; its one graph is image, from images [B, 3, S, S] to logits [B, C]."""

    def __init__(self, name: str, preset: Preset) -> None:
        super().__init__()
        image = ImageSpec(preset.image_size, preset.mean, preset.std)
        paper = "Deep Residual Learning for Image Recognition"
        self.spec = classification_spec(name, paper, image, preset.classes)
        first, *wider = preset.widths
        self.conv1 = nn.Conv2d(3, first, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.layer1 = nn.Sequential(BasicBlock(first, first, 1), BasicBlock(first, first, 1))
        self.layer2, self.layer3, self.layer4 = (
            nn.Sequential(BasicBlock(inputs, width, 2), BasicBlock(width, width, 1))
            for inputs, width in zip(preset.widths, wider, strict=False)
        )
        self.fc = nn.Linear(preset.widths[-1], preset.classes)

    def encode_image(self, image: Tensor) -> tuple[Tensor]:
        """See `ClassificationModel`."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(image))), 3, 2, 1)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return (self.fc(x.mean((2, 3))),)

    def class_layer(self) -> tuple[str, nn.Linear]:
        """See `ClassificationModel`."""
        return "fc", self.fc


class BasicBlock(nn.Module):
    """Two convolutions and what passes by: [B, inputs, H, W] → [B, width, H / stride, W / stride]."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample: nn.Module = nn.Identity()
        if inputs != width or stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.downsample(x))
