r"""`rsvl::PatchLoRAMoE`: the channels of each patch mixed by the low-rank experts that its gates choose.

The mixture of OptiSAR-Net++ as released (PL-MoE), which runs once after each of the convolutions that its experts
share, and any other whose experts are residual low-rank products of channels.

**Definition.** For a patch ``x_p [C, h, w]``, E experts of rank r, each a pair ``up_e [C, r]``, ``down_e [r, C]``, and
gates ``gate_p [E]``, at each of the patch's cells

    ``y_p = x_p + sum_e gate_pe · up_e·(down_e·x_p)``

Gates are given by the caller, zero for the experts that the patch does not use; any factor on the sum is theirs, too.

Where an expert's rank is above half of the channels, multiplying ``up_e·down_e`` out beforehand takes fewer products
(`merges`). In ONNX Runtime only the chosen experts are computed; in PyTorch all are, so that nothing depends on the
gates' values.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rsvl.runtime.errors import UsageError


def patch_lora_moe(x: Tensor, up: Tensor, down: Tensor, gate: Tensor) -> Tensor:
    """Adds the gated sum of the experts' products to each patch; see the module for the definition.

    Differentiable in every tensor (twice, too). Inside `torch.onnx.export` it becomes one node ``rsvl::PatchLoRAMoE``
    with these four inputs and the attributes ``experts`` (E) and ``merged`` (`merges`); its bodies are in
    `rsvl.export.symbolics.patch_lora_moe`.

    Args:
        x: patches ``[P, C, h, w]``, floating point.
        up: the experts' second factors ``[E, C, r]``.
        down: the experts' first factors ``[E, r, C]``.
        gate: ``[P, E]``, any real value; converted to x's dtype.

    Returns:
        ``[P, C, h, w]`` in x's dtype; under autocast in the dtype that autocast promotes its sum to.

    Raises:
        UsageError: shapes that do not fit each other, or a dtype that is not floating point.

    Examples:
        >>> x, up, down = torch.ones(1, 2, 1, 1), torch.ones(3, 2, 1), torch.ones(3, 1, 2)
        >>> patch_lora_moe(x, up, down, torch.tensor([[0.5, 0.0, 1.0]])).flatten().tolist()
        [4.0, 4.0]
    """
    _check(x, up, down, gate)
    if torch.onnx.is_in_onnx_export():
        return torch.onnx.ops.symbolic(
            "rsvl::PatchLoRAMoE",
            (x, up, down, gate),
            {"experts": up.shape[0], "merged": int(merges(up.shape[1], up.shape[2]))},
            dtype=x.dtype,
            shape=tuple(x.shape),
            version=1,
        )
    return torch.ops.rsvl.patch_lora_moe(x, up, down, gate)


def merges(channels: int, rank: int) -> bool:
    """Whether multiplying an expert's factors out takes fewer products for a cell than the factors in turn."""
    return 2 * rank > channels


def _patch_lora_moe(x: Tensor, up: Tensor, down: Tensor, gate: Tensor) -> Tensor:
    cells, chosen = x.flatten(2), gate.to(x.dtype)[:, :, None, None]
    if merges(up.shape[1], up.shape[2]):
        mixed = (torch.einsum("ecd,pdn->pecn", up @ down, cells) * chosen).sum(dim=1)
    else:
        mixed = torch.einsum("ecr,pern->pcn", up, torch.einsum("erc,pcn->pern", down, cells) * chosen)
    return x + mixed.view_as(x)


# Composite implicit: autograd, autocast, shape inference and torch.compile follow from the operations it is made of.
torch.library.define("rsvl::patch_lora_moe", "(Tensor x, Tensor up, Tensor down, Tensor gate) -> Tensor")
torch.library.impl("rsvl::patch_lora_moe", "CompositeImplicitAutograd", _patch_lora_moe)


def _check(x: Tensor, up: Tensor, down: Tensor, gate: Tensor) -> None:
    tensors = {"x": x, "up": up, "down": down, "gate": gate}
    shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in tensors.items())
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise UsageError(f"patch_lora_moe: {name} is {tensor.dtype}: give floating-point tensors")
    if x.dim() != 4 or up.dim() != 3 or down.dim() != 3 or gate.dim() != 2:
        raise UsageError(
            f"patch_lora_moe: expected x [P, C, h, w], up [E, C, r], down [E, r, C] and gate [P, E], got {shapes}"
        )
    experts, channels, rank = up.shape
    if x.shape[1] != channels or tuple(down.shape) != (experts, rank, channels):
        raise UsageError(f"patch_lora_moe: channels, experts or ranks differ between the tensors: {shapes}")
    if tuple(gate.shape) != (x.shape[0], experts):
        raise UsageError(f"patch_lora_moe: gate must be [P, E] with {experts} experts, got {shapes}")
