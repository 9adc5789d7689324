"""AFM-Net's two branches and the unit that fuses them, as its code has them; `rsvl.models.afm_net` is the model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.modules.encoders.rsmamba import fixed_orders
from rsvl.modules.layers.mamba import MambaMixer, MambaSizes

_EPSILON = 1e-5


class ResNetTrunk(nn.Module):
    """A ResNet of bottleneck blocks without its classifier, torchvision's names; the stride is in the 3×3 convolution.

    Args:
        blocks: of each of the four stages.
        width: inner width of the first stage; each further one has twice as much.

    Attributes:
        widths: channels of each stage's map.
    """

    def __init__(self, blocks: tuple[int, int, int, int], width: int) -> None:
        super().__init__()
        self.widths = tuple(4 * width * 2**stage for stage in range(4))
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        inputs = (width, *self.widths)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            nn.Sequential(
                *(
                    Bottleneck(inputs[stage] if index == 0 else inputs[stage + 1], width * 2**stage, stage, index)
                    for index in range(count)
                )
            )
            for stage, count in enumerate(blocks)
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """The stages' maps of images [B, 3, S, S], at strides 4, 8, 16 and 32."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(image))), 3, 2, 1)
        maps = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            maps.append(x)
        return maps


class Bottleneck(nn.Module):
    """Three convolutions and what passes by; the first of a stage but the first halves the side."""

    def __init__(self, inputs: int, width: int, stage: int, index: int) -> None:
        super().__init__()
        stride = 2 if stage > 0 and index == 0 else 1
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.downsample: nn.Module = nn.Identity()
        if index == 0:
            self.downsample = conv_norm(inputs, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y)))))
        return F.relu(y + self.downsample(x))


def conv_norm(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A 1×1 convolution and a batch norm."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


@dataclass(frozen=True)
class MambaBranchSizes:
    """Sizes of the Mamba branch.

    Attributes:
        mixer: of its mixers.
        layers: how many there are.
        taken: after which layers, counted from 1, the tokens are taken out.
        patch: pixels of a patch's side.
    """

    mixer: MambaSizes
    layers: int = 10
    taken: tuple[int, int, int] = (3, 6, 10)
    patch: int = 16


class MambaBranch(nn.Module):
    """Patches with a class token in front, through layers that read them in three orders.

    Args:
        sizes: its sizes.
        image_size: side of the image in pixels, a multiple of the patch.

    Attributes:
        side: patches along a side of the image.
        orders: the shuffle of each layer in evaluation, int64 [layers, 1 + side²].
        places: where each token lies in its layer's shuffle.
    """

    orders: Tensor
    places: Tensor

    def __init__(self, sizes: MambaBranchSizes, image_size: int) -> None:
        super().__init__()
        self.sizes, self.side = sizes, image_size // sizes.patch
        width, tokens = sizes.mixer.width, 1 + self.side**2
        self.patches = nn.Conv2d(3, width, sizes.patch, sizes.patch)
        self.patch_norm = nn.RMSNorm(width, _EPSILON)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.empty(1, tokens, width))
        self.layers = nn.ModuleList(MambaLayer(sizes.mixer) for _ in range(sizes.layers))
        cosines, sines = rotary(self.side, width)
        self.register_buffer("cosines", cosines, persistent=False)
        self.register_buffer("sines", sines, persistent=False)
        for name in ("orders", "places"):
            self.register_buffer(name, torch.empty(0, dtype=torch.int64), persistent=False)
        self.set_orders(fixed_orders(sizes.layers, tokens))
        nn.init.normal_(self.positions, std=0.02)

    def set_orders(self, orders: Tensor) -> None:
        """Sets the shuffles of evaluation, int64 [layers, 1 + side²]."""
        self.orders = orders.to(self.positions.device)
        self.places = self.orders.argsort(1)

    def forward(self, image: Tensor) -> list[Tensor]:
        """The tokens [B, side², width] of images [B, 3, S, S] after the layers that are taken out."""
        tokens = self.patch_norm(self.patches(image).flatten(2).transpose(1, 2))
        tokens = torch.cat((self.class_token.expand(tokens.shape[0], -1, -1), tokens), 1) + self.positions
        orders, places = self.orders, self.places
        if self.training:
            orders = torch.rand(orders.shape, device=orders.device).argsort(1)
            places = orders.argsort(1)
        taken = []
        for index, layer in enumerate(self.layers):
            tokens = layer(tokens, orders[index], places[index], self.cosines, self.sines)
            if index + 1 in self.sizes.taken:
                taken.append(tokens[:, 1:])
        return taken


class MambaLayer(nn.Module):
    """A mixer over the tokens in three orders, each rotated by its places, and a gate."""

    def __init__(self, sizes: MambaSizes) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(sizes.width, _EPSILON)
        self.mixer = MambaMixer(sizes)
        self.gate = nn.Linear(3 * sizes.width, 3, bias=False)

    def forward(self, tokens: Tensor, order: Tensor, place: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        """What the three orders see, weighed: [B, L, width] → the same.

        Args:
            tokens: the tokens.
            order: int64 [L]; the third order's place t reads token ``order[t]``.
            place: int64 [L], the inverse of `order`.
            cosines: [L, width], of the rotation at each place.
            sines: likewise.
        """
        three = torch.stack((tokens, tokens.flip(1), tokens.index_select(1, order))).flatten(0, 1)
        rotated = three * cosines + turned(three) * sines
        seen = rotated + self.mixer(self.norm(rotated))
        forward, backward, shuffled = seen.unflatten(0, (3, -1))
        paths = torch.stack((forward, backward.flip(1), shuffled.index_select(1, place)), 1)  # [B, 3, L, width]
        gates = self.gate(paths.mean(2).flatten(1)).softmax(1)
        return (paths * gates[:, :, None, None]).sum(1)


def rotary(side: int, width: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines [1 + side², width] of the places: none for the first, then a grid, row by row.

    The first half of the channels turns by the row, the other by the column, each pair at its own rate.
    """
    half = width // 2
    rates = 10000.0 ** (-torch.arange(0, half, 2, dtype=torch.float64, device="cpu") / half)
    steps = torch.arange(side, dtype=torch.float64, device="cpu")
    angles = (steps[:, None] * rates).repeat_interleave(2, 1)  # [side, half]
    rows = angles[:, None].expand(side, side, half)
    columns = angles[None].expand(side, side, half)
    grid = torch.cat((rows, columns), 2).flatten(0, 1)
    places = torch.cat((torch.zeros(1, width, dtype=torch.float64, device="cpu"), grid))
    device = torch.get_default_device()
    return places.cos().float().to(device), places.sin().float().to(device)


def turned(x: Tensor) -> Tensor:
    """Each pair of channels (a, b) as (-b, a)."""
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((-b, a), -1).flatten(-2)


class FusionUnit(nn.Module):
    """Three ranges of convolution, gated by channel and by place: [B, inputs, H, W] → [B, outputs, H, W]."""

    def __init__(self, inputs: int, outputs: int, planes: int) -> None:
        super().__init__()
        wide, all_wide = 4 * planes, 12 * planes
        self.squeeze = conv_norm(inputs, wide)
        self.branch1, self.branch2 = DilatedBottleneck(planes, 1), DilatedBottleneck(planes, 2)
        self.branch3 = Separable(wide, 3)
        self.join = Separable(all_wide, 1)
        self.channel_gate = nn.Sequential(
            nn.Conv2d(all_wide, all_wide // 16, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(all_wide // 16, all_wide, 1, bias=False),
        )
        self.place_gate = nn.ModuleList(
            (nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 7, padding=3, bias=False))
        )
        self.out = conv_norm(all_wide, outputs)
        self.shortcut: nn.Module = nn.Identity() if inputs == outputs else conv_norm(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        wide = F.relu(self.squeeze(x))
        y = self.join(torch.cat((self.branch1(wide), self.branch2(wide), self.branch3(wide)), 1))
        mean, most = y.mean((2, 3), keepdim=True), y.amax((2, 3), keepdim=True)
        y = y * (self.channel_gate(mean) + self.channel_gate(most)).sigmoid()
        before, norm, after = self.place_gate
        places = before(torch.cat((y.mean(1, keepdim=True), y.amax(1, keepdim=True)), 1))
        y = y * after(F.relu(norm(places))).sigmoid()
        return F.relu(self.out(y) + self.shortcut(x))


class DilatedBottleneck(nn.Module):
    """A bottleneck around a dilated separable convolution: [B, 4·planes, H, W] → the same."""

    def __init__(self, planes: int, dilation: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(4 * planes, planes, 1, bias=False), nn.BatchNorm2d(planes)
        self.separable = Separable(planes, 3, dilation)
        self.conv3, self.bn3 = nn.Conv2d(planes, 4 * planes, 1, bias=False), nn.BatchNorm2d(4 * planes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.separable(F.relu(self.bn1(self.conv1(x))))
        return F.relu(self.bn3(self.conv3(y)) + x)


class Separable(nn.Module):
    """A depthwise and a 1×1 convolution, each with a batch norm and ReLU: [B, C, H, W] → the same."""

    def __init__(self, channels: int, kernel: int, dilation: int = 1) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        self.dw = nn.Conv2d(channels, channels, kernel, padding=padding, dilation=dilation, groups=channels, bias=False)
        self.dw_norm = nn.BatchNorm2d(channels)
        self.pw = nn.Conv2d(channels, channels, 1, bias=False)
        self.pw_norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.pw_norm(self.pw(F.relu(self.dw_norm(self.dw(x))))))
