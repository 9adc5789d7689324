r"""`rsvl::SelectiveScan`: a linear recurrence per channel, whose step, input and read-out depend on the token.

The scan of Mamba (Gu and Dao, arXiv 2312.00752, algorithm 2) as its released code computes it, which RSMamba and
AFM-Net use.

**Definition.** For each sample, channel d and state n, over the tokens t = 0, 1, …, L - 1,

    ``h_t[d, n] = exp(dt_t[d]·A[d, n])·h_{t-1}[d, n] + dt_t[d]·x_t[d]·B_t[n]``,   ``h_{-1} = 0``
    ``y_t[d] = sum_n h_t[d, n]·C_t[n] + D[d]·x_t[d]``

So A is discretised by its exponential (zero-order hold) and B by Euler's step. The papers print the exact hold for B
too; the released weights are of this form. ``dt`` is the step itself, after the softplus. With negative A, as Mamba
has, every decay lies in 0…1 and nothing overflows, whatever the length; a dt of 0 leaves the state as it is.

The state, the decays and all sums are float32 at least, whatever the inputs are: a half-precision state loses three
digits over a few hundred tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from rsvl.runtime.errors import UsageError

_CACHED = 1 << 21
"""States of so many numbers are computed again at once in the backward pass: more would leave the CPU's cache."""


def selective_scan(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """Runs the recurrence over the last dimension; see the module for the definition.

    Differentiable once in every tensor. Only the inputs are kept for the backward pass, which computes the states
    again. Inside `torch.onnx.export` it becomes one node ``rsvl::SelectiveScan`` with these six inputs and no
    attributes; its body is in `rsvl.export.symbolics.selective_scan`.

    Args:
        x: tokens ``[B, D, L]``, floating point.
        dt: each token's step, 0 or more, ``[B, D, L]``.
        A: decay rates ``[D, N]``, negative.
        B: how a token enters each state ``[B, N, L]``.
        C: how each state is read ``[B, N, L]``.
        D: what of the token itself is added ``[D]``.

    Returns:
        ``[B, D, L]`` in x's dtype.

    Raises:
        UsageError: shapes that do not fit each other, or a dtype that is not floating point.

    Examples:
        A decay of one half per token, written to and read with ones, is a fading sum.

        >>> x, one = torch.tensor([[[1.0, 0.0, 4.0]]]), torch.ones(1, 1, 3)
        >>> half = torch.tensor([[0.5]]).log()
        >>> selective_scan(x, one, half, one, one, torch.zeros(1)).tolist()
        [[[1.0, 0.5, 4.25]]]
    """
    _check(x=x, dt=dt, A=A, B=B, C=C, D=D)
    if torch.onnx.is_in_onnx_export():
        return torch.onnx.ops.symbolic(
            "rsvl::SelectiveScan", (x, dt, A, B, C, D), dtype=x.dtype, shape=tuple(x.shape), version=1
        )
    return torch.ops.rsvl.selective_scan(x, dt, A, B, C, D)


@torch.library.custom_op("rsvl::selective_scan", mutates_args=())
def _selective_scan(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    x_, dt_, A_, B_, C_, D_ = _tokens_first(x, dt, A, B, C, D)
    y = torch.empty_like(x_)
    state = x_.new_zeros(x_.shape[1], *A_.shape)  # [B, N, D]: the long dimension last
    fresh = torch.empty_like(state)
    entering = dt_ * x_
    for t in range(len(x_)):
        torch.mul(dt_[t].unsqueeze(1), A_, out=fresh)
        state.mul_(fresh.exp_()).addcmul_(B_[t].unsqueeze(2), entering[t].unsqueeze(1))
        y[t] = torch.bmm(C_[t].unsqueeze(1), state).squeeze(1)
    return y.addcmul_(D_, x_).permute(1, 2, 0).to(x.dtype).contiguous()


@_selective_scan.register_fake
def _shape(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device=x.device)


@torch.library.custom_op("rsvl::selective_scan_backward", mutates_args=())
def _backward(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, grad: Tensor) -> list[Tensor]:
    x_, dt_, A_, B_, C_, D_ = _tokens_first(x, dt, A, B, C, D)
    grad_y = grad.permute(2, 0, 1).to(x_.dtype)
    samples = max(1, _CACHED // max(1, len(x_) * A_.numel()))
    split = zip(*(tensor.split(samples, dim=1) for tensor in (x_, dt_, B_, C_, grad_y)), strict=True)
    parts = [_backward_of(own[0], own[1], A_, own[2], own[3], D_, own[4]) for own in split]
    grads = [
        sum(part, torch.zeros_like(like)) if like.dim() < 3 else torch.cat(part, dim=1).permute(1, 2, 0)
        for part, like in zip(zip(*parts, strict=True), (x_, dt_, A_, B_, C_, D_), strict=True)
    ]
    grads[2] = grads[2].t()
    return [g.to(of.dtype).contiguous() for g, of in zip(grads, (x, dt, A, B, C, D), strict=True)]


def _backward_of(
    x_: Tensor, dt_: Tensor, A_: Tensor, B_: Tensor, C_: Tensor, D_: Tensor, grad_y: Tensor
) -> tuple[Tensor, ...]:
    """The gradients of x, dt, A, B, C and D for some of the samples, all as `_tokens_first` gives them."""
    decays = (dt_.unsqueeze(2) * A_).exp_()  # [L, B, N, D]
    states = B_.unsqueeze(3) * (dt_ * x_).unsqueeze(2)
    for t in range(1, len(x_)):
        states[t].addcmul_(decays[t], states[t - 1])
    grad_C = (states * grad_y.unsqueeze(2)).sum(3)
    grad_state = C_.unsqueeze(3) * grad_y.unsqueeze(2)  # of each state, through all that follows it
    for t in range(len(x_) - 2, -1, -1):
        grad_state[t].addcmul_(decays[t + 1], grad_state[t + 1])
    grad_entering = (grad_state * B_.unsqueeze(3)).sum(2)
    grad_B = (grad_state * (dt_ * x_).unsqueeze(2)).sum(3)
    grad_exponent = decays[1:].mul_(states[:-1]).mul_(grad_state[1:])  # of dt·A; the first decay meets no state
    grad_dt = grad_entering * x_
    grad_dt[1:] += (grad_exponent * A_).sum(2)
    grad_A = (grad_exponent * dt_[1:].unsqueeze(2)).sum((0, 1))
    grad_x, grad_D = grad_entering * dt_ + grad_y * D_, (grad_y * x_).sum((0, 1))
    return grad_x, grad_dt, grad_A, grad_B, grad_C, grad_D


@_backward.register_fake
def _backward_shapes(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, grad: Tensor) -> list[Tensor]:
    return [torch.empty(of.shape, dtype=of.dtype, device=of.device) for of in (x, dt, A, B, C, D)]


def _save(ctx: Any, inputs: Sequence[Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
    return tuple(torch.ops.rsvl.selective_scan_backward(*ctx.saved_tensors, grad))


_selective_scan.register_autograd(_gradients, setup_context=_save)


@register_flop_formula(torch.ops.rsvl.selective_scan)
def _read_out(x: Sequence[int], dt: Any, A: Sequence[int], *rest: Any, **options: Any) -> int:
    """The product with C; the recurrence itself is elementwise and counts as activations do, not at all."""
    return 2 * x[0] * x[1] * x[2] * A[1]


def _tokens_first(*tensors: Tensor) -> list[Tensor]:
    """x, dt, B and C as ``[L, B, …]``, A as ``[N, D]`` and D, in the dtype of the sums."""
    x, dt, A, B, C, D = tensors
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    tokens = [tensor.permute(2, 0, 1).to(dtype).contiguous() for tensor in (x, dt, B, C)]
    return [*tokens[:2], A.t().to(dtype).contiguous(), *tokens[2:], D.to(dtype)]


def _check(**tensors: Tensor) -> None:
    shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in tensors.items())
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise UsageError(f"selective_scan: {name} is {tensor.dtype}: give floating-point tensors")
    x, A, B = tensors["x"], tensors["A"], tensors["B"]
    if x.dim() != 3 or A.dim() != 2 or B.dim() != 3:
        raise UsageError(f"selective_scan: expected x [B, D, L], A [D, N] and B [B, N, L], got {shapes}")
    batch, channels, length = x.shape
    states = A.shape[1]
    expected = {"dt": x.shape, "A": (channels, states), "B": (batch, states, length), "D": (channels,)}
    expected["C"] = expected["B"]
    wrong = [name for name, shape in expected.items() if tuple(tensors[name].shape) != tuple(shape)]
    if wrong:
        raise UsageError(f"selective_scan: {wrong[0]} must be {list(expected[wrong[0]])}, got {shapes}")
