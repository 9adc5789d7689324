r"""`rsvl::LoRAMoE`: a linear layer with low-rank experts, of which each patch uses those that its gates choose.

The patch-level mixture of low-rank experts of OptiSAR-Net++ (PL-MoE), and any other whose experts are LoRA pairs.

**Definition.** For a patch x (a vector along the last dimension), a shared weight ``W [Cout, Cin]``, and E experts of
rank r, each a pair ``a_e [r, Cin]``, ``b_e [Cout, r]``,

    ``y = W·x + sum_e gate_e · b_e·(a_e·x)``

with gates given by the caller, zero for the experts that the patch does not use (`top_k_gate` makes such gates from a
router's logits). No bias.

It is computed densely, as two wide products over all experts' ranks and a mask between them:

    ``y = x·Wᵀ + ((x·Aᵀ) ⊙ repeat(gate, r))·B``,   ``A [E·r, Cin]``, ``B [E·r, Cout]``

so its time grows with the experts' total rank E·r and not with their number; there is no gather, scatter or loop, and
shapes do not depend on what was chosen. A sparse execution would multiply only k of E experts:
`rsvl.modules.layers.lora_moe.LoRAMoE.idle_macs` says how much that would spare.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rsvl.runtime.errors import UsageError


def lora_moe(x: Tensor, weight: Tensor, a: Tensor, b: Tensor, gate: Tensor) -> Tensor:
    """Applies a linear layer and the gated sum of its low-rank experts; see the module for the definition.

    Differentiable in every tensor (twice, too). Inside `torch.onnx.export` it becomes one node ``rsvl::LoRAMoE`` with
    these five inputs and no attributes; its body is in `rsvl.export.symbolics.lora_moe`.

    Args:
        x: patches ``[..., Cin]``, floating point.
        weight: the shared weight ``[Cout, Cin]``.
        a: the experts' first factors ``[E, r, Cin]``.
        b: the experts' second factors ``[E, Cout, r]``.
        gate: ``[..., E]``, any real value; converted to the products' dtype. Its dimensions before the last are x's,
            or broadcast to them: gates ``[B, 1, 1, E]`` serve all patches of an image.

    Returns:
        ``[..., Cout]`` in x's dtype; under autocast in the dtype that autocast gives a linear layer.

    Raises:
        UsageError: shapes that do not fit each other, or a dtype that is not floating point.

    Examples:
        >>> x, weight = torch.ones(1, 4), torch.eye(4)
        >>> a, b = torch.ones(2, 1, 4), torch.ones(2, 4, 1)
        >>> lora_moe(x, weight, a, b, torch.tensor([[1.0, 0.0]])).tolist()
        [[5.0, 5.0, 5.0, 5.0]]
    """
    _check(x, weight, a, b, gate)
    if torch.onnx.is_in_onnx_export():
        return torch.onnx.ops.symbolic(
            "rsvl::LoRAMoE",
            (x, weight, a, b, gate),
            dtype=x.dtype,
            shape=(*x.shape[:-1], weight.shape[0]),
            version=1,
        )
    return torch.ops.rsvl.lora_moe(x, weight, a, b, gate)


def top_k_gate(logits: Tensor, k: int) -> Tensor:
    """Gates that are a router's probabilities for its k likeliest experts and zero for the others.

    The probabilities are the softmax over all experts, not renormalised over the chosen ones, as in the Switch
    Transformer (equation 2): the router so learns from the task even where k = 1. Of experts with equal logits those
    of lower index are chosen, in every language alike: an expert's rank is counted, with comparisons only, and not
    taken from a sort, whose order of equal values differs between runtimes.

    Args:
        logits: ``[..., E]``, floating point.
        k: experts to choose, 1…E.

    Returns:
        ``[..., E]`` in the logits' dtype, each in 0…1.

    Raises:
        UsageError: k is not in 1…E.
    """
    experts = logits.shape[-1]
    if not 1 <= k <= experts:
        raise UsageError(f"top_k_gate: k is {k} with {experts} experts: choose 1 to {experts}")
    probability = logits.softmax(dim=-1)
    if k == experts:
        return probability
    mine, other = logits.unsqueeze(-1), logits.unsqueeze(-2)  # [..., E, 1], [..., 1, E]
    index = torch.arange(experts, device=logits.device)
    before = index < index.unsqueeze(-1)  # [E, E]: the other's index is lower
    ahead = (other > mine) | ((other == mine) & before)
    return probability * (ahead.to(logits.dtype).sum(dim=-1) < k).to(logits.dtype)


def _lora_moe(x: Tensor, weight: Tensor, a: Tensor, b: Tensor, gate: Tensor) -> Tensor:
    hidden = F.linear(x, a.flatten(0, 1))  # [..., E·r]
    gated = hidden.unflatten(-1, a.shape[:2]) * gate.to(hidden.dtype).unsqueeze(-1)
    return F.linear(x, weight) + F.linear(gated.flatten(-2), b.transpose(0, 1).flatten(1))


# Composite implicit: autograd, autocast, shape inference and torch.compile follow from the operations it is made of.
torch.library.define("rsvl::lora_moe", "(Tensor x, Tensor weight, Tensor a, Tensor b, Tensor gate) -> Tensor")
torch.library.impl("rsvl::lora_moe", "CompositeImplicitAutograd", _lora_moe)


def _check(x: Tensor, weight: Tensor, a: Tensor, b: Tensor, gate: Tensor) -> None:
    tensors = {"x": x, "weight": weight, "a": a, "b": b, "gate": gate}
    shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in tensors.items())
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise UsageError(f"lora_moe: {name} is {tensor.dtype}: give floating-point tensors")
    if x.dim() < 1 or weight.dim() != 2 or a.dim() != 3 or b.dim() != 3:
        raise UsageError(
            f"lora_moe: expected x [..., Cin], weight [Cout, Cin], a [E, r, Cin] and b [E, Cout, r], got {shapes}"
        )
    if not x.shape[-1] == weight.shape[1] == a.shape[2]:
        raise UsageError(f"lora_moe: x, weight and a differ in their input channels: {shapes}")
    if tuple(b.shape) != (a.shape[0], weight.shape[0], a.shape[1]):
        raise UsageError(f"lora_moe: b must be {[a.shape[0], weight.shape[0], a.shape[1]]}, got {shapes}")
    if gate.dim() != x.dim() or gate.shape[-1] != a.shape[0]:
        raise UsageError(f"lora_moe: gate must be [..., E] with x's dimensions and {a.shape[0]} experts, got {shapes}")
    if any(found not in (1, size) for found, size in zip(gate.shape[:-1], x.shape[:-1], strict=True)):
        raise UsageError(f"lora_moe: gate does not broadcast to the patches of x: {shapes}")
