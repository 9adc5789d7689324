"""AFM-Net as its code has it: a CNN beside Mamba, fused level by level, and a classifier of experts.

"AFM-Net: Advanced Fusing Hierarchical CNN Visual Priors with Global Sequence Modeling for Remote Sensing Image Scene
Classification", arXiv 2510.27155. A ResNet-50 sees textures, Mamba's mixer the whole image in three orders. Maps of
three depths of both are brought to one grid, enhanced, and fused pair by pair; of the means, side by side, six of 64
experts and a shared one make the features that are classified.

What the code does and the paper does not say is kept: the rotary positions go by the place in an order, not by the
patch; the probabilities of the six experts do not sum to one. The shuffles, which the code draws anew at every call,
are fixed in evaluation (`rsvl.modules.encoders.rsmamba`). Sizes of the mixture and the number of classes come from a
checkpoint's shapes; how many experts an image uses does not show there and stays the preset's. Published: F1 of 96.81
on UC Merced, 93.71 on AID and 95.52 % on RESISC45.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.modules.bases.classification import EUROSAT_MEAN, EUROSAT_STD, ClassificationModel, classification_spec
from rsvl.modules.encoders.afm import FusionUnit, MambaBranch, MambaBranchSizes, ResNetTrunk
from rsvl.modules.key_rules import Rules, renamed
from rsvl.modules.layers.mamba import KEEP_FP32, MambaSizes, convert_mixer
from rsvl.registry import register
from rsvl.runtime.errors import CheckpointError
from rsvl.runtime.manifest import ImageSpec

_BALANCE = 0.01
"""Weight of the loss by which training evens out how often the experts are chosen."""


@dataclass(frozen=True)
class MixtureSizes:
    """Sizes of the mixture of experts.

    Attributes:
        experts: how many there are to choose from.
        inner: hidden width of each.
        shared: hidden width of the one that is always used.
        chosen: experts per image.
    """

    experts: int = 64
    inner: int = 1408
    shared: int = 2816
    chosen: int = 6


@dataclass(frozen=True)
class Preset:
    """Sizes of an AFM-Net.

    Attributes:
        blocks: of the ResNet's four stages.
        trunk: width of the ResNet's first stage, before the expansion by 4.
        branch: of the Mamba branch.
        width: channels of a level in each branch.
        planes: inner widths of the units that enhance a CNN's level, a Mamba's, and fuse both.
        mixture: of the experts.
        image_size: side of the square input in pixels.
        mean: of each channel, 0…1.
        std: of each channel.
        classes: as many logits, until training counts the data's classes.
    """

    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    trunk: int = 64
    branch: MambaBranchSizes = MambaBranchSizes(MambaSizes(192, 384, 12))  # noqa: RUF009
    width: int = 128
    planes: tuple[int, int, int] = (32, 64, 32)
    mixture: MixtureSizes = MixtureSizes()
    image_size: int = 224
    mean: tuple[float, ...] = (0.396181, 0.407842, 0.366673)
    std: tuple[float, ...] = (0.158303, 0.145535, 0.140807)
    classes: int = 30


TINY = Preset(
    blocks=(1, 1, 1, 1),
    trunk=16,
    branch=MambaBranchSizes(MambaSizes(64, 128, 4), layers=5, taken=(2, 3, 5), patch=8),
    width=32,
    planes=(8, 8, 8),
    mixture=MixtureSizes(experts=8, inner=96, shared=96, chosen=2),
    image_size=64,
    mean=EUROSAT_MEAN,
    std=EUROSAT_STD,
    classes=10,
)


@register("afm-net", presets={"afm-net": Preset(), "afm-net-tiny": TINY})
class AFMNet(ClassificationModel):
    """The model, built from a preset; its one graph is image, from images [B, 3, S, S] to logits [B, C]."""

    keep_fp32 = MappingProxyType(
        {
            "mamba.layers.*.mixer.state": KEEP_FP32,
            "mixture.gate": "a rounded probability can choose another expert",
        }
    )
    unread: ClassVar[str] = r"cnn_backbone\.fc\.|mamba_branch\.(norm_f|pool_norm)\."

    def __init__(self, name: str, preset: Preset) -> None:
        super().__init__()
        image = ImageSpec(preset.image_size, preset.mean, preset.std)
        paper = (
            "AFM-Net: Advanced Fusing Hierarchical CNN Visual Priors with Global Sequence Modeling for Remote "
            "Sensing Image Scene Classification"
        )
        self.spec = classification_spec(name, paper, image, preset.classes)
        width, (cnn, mamba, fusion) = preset.width, preset.planes
        self.cnn = ResNetTrunk(preset.blocks, preset.trunk)
        self.mamba = MambaBranch(preset.branch, preset.image_size)
        tokens = preset.branch.mixer.width
        self.cnn_adapters = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in self.cnn.widths[1:])
        self.mamba_adapters = nn.ModuleList(nn.Linear(tokens, width) for _ in preset.branch.taken)
        self.cnn_enhancers = nn.ModuleList(FusionUnit(width, width, cnn) for _ in preset.branch.taken)
        self.mamba_enhancers = nn.ModuleList(FusionUnit(width, width, mamba) for _ in preset.branch.taken)
        self.fusions = nn.ModuleList(FusionUnit(2 * width, 2 * width, fusion) for _ in preset.branch.taken)
        self.mixture = Mixture(6 * width, preset.mixture)
        self.head = nn.Linear(6 * width, preset.classes)

    def encode_image(self, image: Tensor) -> tuple[Tensor]:
        """See `ClassificationModel`."""
        mixed, _ = self.mixture(self.levels(image))
        return (self.head(mixed),)

    def levels(self, image: Tensor) -> Tensor:
        """The means of the fused levels side by side [B, 6·width]."""
        grid = (self.mamba.side, self.mamba.side)
        fused = []
        for index, (texture, tokens) in enumerate(zip(self.cnn(image)[1:], self.mamba(image), strict=True)):
            local = self.cnn_enhancers[index](self.cnn_adapters[index](texture))
            local = F.interpolate(local, size=grid, mode="bilinear")
            whole = self.mamba_adapters[index](tokens).transpose(1, 2).unflatten(2, grid)
            pair = torch.cat((local, self.mamba_enhancers[index](whole)), 1)
            fused.append(self.fusions[index](pair).mean((2, 3)))
        return torch.cat(fused, 1)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """See `ClassificationModel`; training's loss evens out the experts' use, too."""
        mixed, balance = self.mixture(self.levels(images))
        logits = self.head(mixed)
        return logits if labels is None else self.loss(logits, labels) + _BALANCE * balance

    def class_layer(self) -> tuple[str, nn.Linear]:
        """See `ClassificationModel`."""
        return "head", self.head

    @classmethod
    def reads(cls, state: Mapping[str, Tensor]) -> bool:
        """See `ExportableModel`: the authors' checkpoints with a mixture."""
        return {"fusion_moe_layer.gate.gate_proj.weight", "mamba_branch.cls_token"} <= set(state)

    def published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """See `ExportableModel`."""
        if not self.reads(state):
            return None
        found, experts = {}, {}
        for key, value in state.items():
            expert = re.fullmatch(r"fusion_moe_layer\.experts\.(\d+)\.w([123])\.weight", key)
            mixer = re.fullmatch(r"mamba_branch\.layers\.(\d+)\.mixer\.(.+)", key)
            if expert:
                experts[int(expert[2]), int(expert[1])] = value
            elif mixer:
                name, value = convert_mixer(mixer[2], value)
                found[f"mamba.layers.{mixer[1]}.mixer.{name}"] = value
            elif ".rope_for_vim." not in key:  # tables of sines and cosines
                found[renamed(key, _RENAMES)] = value
        for matrix in (1, 2, 3):
            weights = [experts[key] for key in sorted(experts) if key[0] == matrix]
            found[f"mixture.w{matrix}"] = torch.stack(weights) if weights else torch.empty(0)
        return found

    @contextmanager
    def resized(self, state: Mapping[str, Tensor]) -> Iterator[None]:
        """Takes a checkpoint's number of classes, and the sizes of its mixture."""
        before, inner, shared = self.mixture, state.get("mixture.w1"), state.get("mixture.shared.1.weight")
        with super().resized(state):
            if inner is not None and inner.ndim == 3 and shared is not None and shared.ndim == 2:
                sizes = replace(before.sizes, experts=len(inner), inner=inner.shape[1], shared=len(shared))
                sizes = replace(sizes, chosen=min(sizes.chosen, sizes.experts))
                if sizes != before.sizes and inner.shape[2] == before.width:
                    self.mixture = Mixture(before.width, sizes).train(before.training)
            try:
                yield
            except CheckpointError:
                self.mixture = before
                raise


class Mixture(nn.Module):
    """Experts, of which each image uses those that its gate finds likeliest, and one that all use.

    Only the chosen experts are multiplied: their weights are gathered for each image.
    """

    def __init__(self, width: int, sizes: MixtureSizes) -> None:
        super().__init__()
        self.width, self.sizes = width, sizes
        self.gate = nn.Linear(width, sizes.experts, bias=False)
        self.w1, self.w3 = (nn.Parameter(torch.empty(sizes.experts, sizes.inner, width)) for _ in range(2))
        self.w2 = nn.Parameter(torch.empty(sizes.experts, width, sizes.inner))
        self.shared = nn.ModuleDict(
            {
                "1": nn.Linear(width, sizes.shared, bias=False),
                "2": nn.Linear(sizes.shared, width, bias=False),
                "3": nn.Linear(width, sizes.shared, bias=False),
            }
        )
        for weight in (self.w1, self.w2, self.w3):
            nn.init.uniform_(weight, -(weight.shape[2] ** -0.5), weight.shape[2] ** -0.5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mixes vectors.

        Args:
            x: [B, width].

        Returns:
            [B, width], and the scalar by which training evens out the experts' use: 1 per chosen expert where all are
            used alike.
        """
        probabilities = self.gate(x).softmax(1)
        weights, chosen = probabilities.topk(self.sizes.chosen, 1)
        column = x[:, None, :, None]  # [B, 1, width, 1]
        hidden = F.silu(self.w1[chosen] @ column) * (self.w3[chosen] @ column)
        each = (self.w2[chosen] @ hidden).squeeze(3)  # [B, chosen, width]
        mixed = (each * weights.to(each.dtype).unsqueeze(2)).sum(1)
        always = self.shared["2"](F.silu(self.shared["1"](x)) * self.shared["3"](x))
        if not self.training:
            return mixed + always, x.new_zeros(())
        share = F.one_hot(chosen, self.sizes.experts).sum(1).to(probabilities.dtype).mean(0)
        return mixed + always, self.sizes.experts * (share * probabilities.mean(0)).sum()


_RENAMES: Rules = (
    (r"^cnn_backbone\.(?!fc\.)", "cnn."),
    (r"^cnn_adapter_layers\.", "cnn_adapters."),
    (r"^mamba_adapter_layers\.", "mamba_adapters."),
    (r"^(cnn|mamba)_fedab_enhancers\.(\d)\.block\.", r"\1_enhancers.\2."),
    (r"^scale_fusion_blocks\.(\d)\.block\.", r"fusions.\1."),
    (r"\.conv_1x1_input\.", ".squeeze."),
    (r"\.conv_1x1_output\.", ".out."),
    (r"\.shortcut_conv\.", ".shortcut."),
    (r"\.branch([12])\.0\.", r".branch\1."),
    (r"\.conv2_dwsc\.", ".separable."),
    (r"\.bn_(dw|pw)\.", r".\1_norm."),
    (r"\.depthwise\.", ".dw."),
    (r"\.pointwise\.", ".pw."),
    (r"\.fusion_conv\.", ".join."),
    (r"\.ca\.shared_mlp\.", ".channel_gate."),
    (r"\.sa\.conv_block\.0\.", ".place_gate.0."),
    (r"\.sa\.conv_block\.1\.", ".place_gate.2."),
    (r"^((?:cnn_enhancers|mamba_enhancers|fusions)\..*)\.conv\.", r"\1.0."),
    (r"^((?:cnn_enhancers|mamba_enhancers|fusions)\..*)\.bn\.", r"\1.1."),
    (r"\.place_gate\.0\.0\.", ".place_gate.0."),
    (r"\.place_gate\.0\.1\.", ".place_gate.1."),
    (r"^mamba_branch\.path_gate_layers\.(\d+)\.0\.", r"mamba.layers.\1.gate."),
    (r"^mamba_branch\.cls_token$", "mamba.class_token"),
    (r"^mamba_branch\.pos_embed$", "mamba.positions"),
    (r"^mamba_branch\.patch_embed\.proj\.", "mamba.patches."),
    (r"^mamba_branch\.patch_embed\.norm\.", "mamba.patch_norm."),
    (r"^mamba_branch\.layers\.", "mamba.layers."),
    (r"^fusion_moe_layer\.gate\.gate_proj\.", "mixture.gate."),
    (r"^fusion_moe_layer\.shared_mlp\.w([123])\.", r"mixture.shared.\1."),
    (r"^final_classifier\.", "head."),
)
