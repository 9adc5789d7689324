"""Mamba's mixer: a gated causal convolution and a selective scan over a sequence of tokens.

"Mamba: Linear-Time Sequence Modeling with Selective State Spaces", arXiv 2312.00752, section 3.4, as the released code
has it. RSMamba and AFM-Net put it over the patches of an image. What it computes for each token alone, before and after
the scan, does not depend on the tokens' order: `MambaMixer.gated` and its last projection can serve several orders.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.ops import selective_scan

KEEP_FP32 = "sums over all tokens, and its decays are exponentials"
"""Why a mixer's `state` stays in float32."""


@dataclass(frozen=True)
class MambaSizes:
    """Sizes of a mixer.

    Attributes:
        width: of the tokens.
        inner: channels of the scan.
        rank: of the projection that gives each channel's step.
        states: of each channel.
        taps: of the causal convolution.
    """

    width: int
    inner: int
    rank: int
    states: int = 16
    taps: int = 4


class MambaMixer(nn.Module):
    """Mixes tokens [B, L, width] in their order, each seeing those before it."""

    def __init__(self, sizes: MambaSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.in_proj = nn.Linear(sizes.width, 2 * sizes.inner, bias=False)
        self.conv = CausalConvolution(sizes.inner, sizes.taps)
        self.x_proj = nn.Linear(sizes.inner, sizes.rank + 2 * sizes.states, bias=False)
        self.state = State(sizes)
        self.out_proj = nn.Linear(sizes.inner, sizes.width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, L, width] → the same."""
        x, gate = self.gated(tokens)
        return self.out_proj(self.scan(x) * gate)

    def gated(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """What goes through the scan and what it is multiplied with, both [B, L, inner]; each token by itself."""
        x, gate = self.in_proj(tokens).chunk(2, 2)
        return x, F.silu(gate)

    def scan(self, x: Tensor) -> Tensor:
        """The convolution and the scan, in the order of the tokens: [B, L, inner] → the same."""
        x = F.silu(self.conv(x))
        sizes = (self.sizes.rank, self.sizes.states, self.sizes.states)
        step, write, read = self.x_proj(x).split(sizes, 2)
        return self.state(x, step, write, read).to(x.dtype)


class CausalConvolution(nn.Module):
    """A depthwise convolution over the present token and those just before it: [B, L, C] → the same.

    Written as shifted products, which runtimes compute faster than a convolution of so many groups.
    """

    def __init__(self, channels: int, taps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(taps, channels))
        self.bias = nn.Parameter(torch.empty(channels))
        for parameter in (self.weight, self.bias):
            nn.init.uniform_(parameter, -(taps**-0.5), taps**-0.5)  # as PyTorch starts convolutions

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        taps, length = len(self.weight), x.shape[1]
        before = F.pad(x, (0, 0, taps - 1, 0))
        y = x * self.weight[-1] + self.bias
        for tap in range(taps - 1):
            y = y + before[:, tap : tap + length] * self.weight[tap]
        return y


class State(nn.Module):
    """The selective scan with its steps; its parameters and sums stay in float32."""

    def __init__(self, sizes: MambaSizes) -> None:
        super().__init__()
        self.dt_proj = nn.Linear(sizes.rank, sizes.inner)
        rates = torch.arange(1, sizes.states + 1, dtype=torch.float32)
        self.A_log = nn.Parameter(rates.log().expand(sizes.inner, -1).clone())
        self.D = nn.Parameter(torch.ones(sizes.inner))
        step = torch.exp(torch.empty(sizes.inner).uniform_(math.log(0.001), math.log(0.1)))
        with torch.no_grad():
            self.dt_proj.bias.copy_(step + torch.log(-torch.expm1(-step)))  # its softplus is the step

    def forward(self, x: Tensor, step: Tensor, write: Tensor, read: Tensor) -> Tensor:
        """Scans tokens.

        Args:
            x: [B, L, inner].
            step: [B, L, rank].
            write: [B, L, states].
            read: [B, L, states].

        Returns:
            [B, L, inner].
        """
        dt = F.softplus(self.dt_proj(step))
        x, dt, write, read = (tokens.transpose(1, 2) for tokens in (x, dt, write, read))
        return selective_scan(x, dt, -self.A_log.exp(), write, read, self.D).transpose(1, 2)


def convert_mixer(name: str, value: Tensor) -> tuple[str, Tensor]:
    """An entry of a released mixer by our name and in our layout; `name` is what stands after the mixer's own."""
    if name == "conv1d.weight":  # [C, 1, taps]
        return "conv.weight", value[:, 0].t().contiguous()
    if name == "conv1d.bias":
        return "conv.bias", value
    return (f"state.{name}" if name.startswith(("dt_proj.", "A_log", "D")) else name), value
