"""A linear layer with low-rank experts (`rsvl.ops.lora_moe`), its router and what keeps the experts in balance."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rsvl.ops import lora_moe, top_k_gate


class TopKRouter(nn.Module):
    """Chooses each patch's experts: one linear layer, softmax, the k likeliest (`rsvl.ops.top_k_gate`).

    Attributes:
        balance: in training, the load-balance loss of the last call, until `take_balance_loss` takes it.
    """

    def __init__(self, channels: int, experts: int, top_k: int) -> None:
        super().__init__()
        self.top_k = top_k
        self.logits = nn.Linear(channels, experts, bias=False)
        self.balance: Tensor | None = None
        nn.init.normal_(self.logits.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Patches [..., C] → gates [..., E], zero but for k experts of each patch."""
        logits = self.logits(x)
        gate = top_k_gate(logits, self.top_k)
        if self.training:
            self.balance = load_balance_loss(logits, gate)
        return gate


class LoRAMoE(nn.Module):
    """A linear layer with bias and E experts of rank r, each patch using the k that its router or its caller chooses.

    A fresh layer is a plain linear layer: `b` starts from zero, as LoRA's does.

    Args:
        in_channels: Cin.
        out_channels: Cout.
        experts: E.
        rank: r of each expert.
        top_k: experts a patch uses, k.
        routed: whether the layer has a router of its own; without one, `forward` must be given gates.
    """

    def __init__(
        self, in_channels: int, out_channels: int, experts: int, rank: int, top_k: int = 1, routed: bool = True
    ) -> None:
        super().__init__()
        self.top_k = top_k
        self.router = TopKRouter(in_channels, experts, top_k) if routed else None
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.a = nn.Parameter(torch.empty(experts, rank, in_channels))
        self.b = nn.Parameter(torch.zeros(experts, out_channels, rank))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws weight and `a` anew, as `nn.Linear` draws its weight; `b` and bias become zero."""
        bound = 1 / math.sqrt(self.weight.shape[1])
        for drawn in (self.weight, self.a):
            nn.init.uniform_(drawn, -bound, bound)
        for zero in (self.b, self.bias):
            nn.init.zeros_(zero)

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        """Patches [..., Cin] → [..., Cout].

        Args:
            x: [..., Cin].
            gate: [..., E], in place of the router's.
        """
        if gate is None:
            assert self.router is not None, "a layer without a router must be given gates"
            gate = self.router(x)
        return lora_moe(x, self.weight, self.a, self.b, gate) + self.bias

    def idle_macs(self, x: Tensor, gate: Tensor | None = None) -> int:
        """Of the MACs that `forward` computes, those of experts whose gates are zero.

        A sparse execution, which gathers the patches of each expert, would not compute them.
        """
        experts, rank, in_channels = self.a.shape
        patches = x.numel() // in_channels
        return patches * (experts - self.top_k) * rank * (in_channels + self.weight.shape[0])

    def extra_repr(self) -> str:
        """Sizes for `print(module)`."""
        experts, rank, in_channels = self.a.shape
        return f"{in_channels}, {self.weight.shape[0]}, experts={experts}, rank={rank}, top_k={self.top_k}"


def load_balance_loss(logits: Tensor, gate: Tensor) -> Tensor:
    """The auxiliary loss of the Switch Transformer (equations 4 to 6) and GShard, for any k.

    ``E · sum_e f_e · P_e`` with f_e the share of all choices that fell on expert e (a constant to the gradient) and P_e
    the mean of the router's probability for it. It is 1 when both are even, E when one expert has it all.

    Args:
        logits: the router's, [..., E].
        gate: [..., E], zero for the experts not chosen.

    Returns:
        A float32 scalar.
    """
    experts = logits.shape[-1]
    chosen = (gate.detach() > 0).float().reshape(-1, experts).mean(dim=0)
    probability = logits.float().softmax(dim=-1).reshape(-1, experts).mean(dim=0)
    return experts * (chosen / chosen.sum() * probability).sum()


def take_balance_loss(model: nn.Module) -> Tensor | None:
    """The mean load-balance loss of a model's routers since their last call in training, and forgets it.

    None where the model has no router or was not run in training mode.
    """
    losses = []
    for module in model.modules():
        if isinstance(module, TopKRouter) and module.balance is not None:
            losses.append(module.balance)
            module.balance = None  # a model holding a tensor with a history cannot be copied
    return torch.stack(losses).mean() if losses else None
