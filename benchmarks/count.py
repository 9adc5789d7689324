"""Parameters and MACs (multiply–accumulate operations) of a model, by module and by graph, from its shapes alone.

The model is on PyTorch's meta device, with shapes and no weights, so counting takes about a second and no memory. Each
operator is counted by PyTorch's own formula. Composite operators have been decomposed by then: `rsvl::rotated_conv2d`
is a product that combines the kernels, and a convolution. A custom operator that is not composite counts once it has a
formula (``torch.utils.flop_counter.register_flop_formula``).

Publications count differently, so two sums are kept apart: products with weights (linear and convolution layers), and
products of activations with each other (attention: queries with keys, scores with values). A MAC is two operations, a
multiplication and an addition.

Some MACs are idle: a mixture of experts may compute all experts and mask those not selected. A module's `idle_macs`,
which takes the arguments of its `forward`, says how many a sparse execution would skip;
`rsvl.modules.layers.lora_moe.LoRAMoE` has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from rsvl.runtime.manifest import GraphSpec

_aten = torch.ops.aten
_WITH_WEIGHTS = {_aten.mm, _aten.addmm, _aten.convolution, _aten._convolution}


@dataclass(frozen=True)
class Macs:
    """MACs at batch 1.

    Attributes:
        layers: in linear and convolution layers, and in combining kernels.
        attention: in products of activations with activations.
        idle: of both, those of experts with a gate of zero.
    """

    layers: int = 0
    attention: int = 0
    idle: int = 0

    @property
    def total(self) -> int:
        """All products."""
        return self.layers + self.attention

    @property
    def sparse(self) -> int:
        """MACs of a sparse execution: all products but those of experts with a gate of zero."""
        return self.total - self.idle

    @property
    def operations(self) -> int:
        """Multiplications and additions of all products."""
        return 2 * self.total

    def __add__(self, other: Macs) -> Macs:
        return Macs(self.layers + other.layers, self.attention + other.attention, self.idle + other.idle)

    def __sub__(self, other: Macs) -> Macs:
        return Macs(self.layers - other.layers, self.attention - other.attention, self.idle - other.idle)


@dataclass(frozen=True)
class Count:
    """Parameters and MACs of a module, including its submodules."""

    parameters: int
    macs: Macs

    def __sub__(self, other: Count) -> Count:
        return Count(self.parameters - other.parameters, self.macs - other.macs)


@dataclass(frozen=True)
class ModelCount:
    """Parameters and MACs of a model for one image and one sentence.

    Attributes:
        total: the whole model.
        modules: every module by its path in the model, such as ``drc.0.conv``.
        graphs: MACs of each graph of its declaration.
    """

    total: Count
    modules: dict[str, Count]
    graphs: dict[str, Macs]

    def parts(self) -> dict[str, Count]:
        """The model's direct children, in its own order."""
        return {name: count for name, count in self.modules.items() if "." not in name}


def count(build: Callable[[], nn.Module]) -> ModelCount:
    """Counts a model.

    Args:
        build: creates the model (with `spec` and `graph(name)`); called with the meta device as default.
    """
    with torch.device("meta"):
        model: Any = build().eval()
    by_module: dict[str, Macs] = {}
    graphs = {}
    for graph in model.spec.graphs:
        counted = count_call(model, partial(model.graph(graph.name), *_inputs(graph)))
        graphs[graph.name] = _sum(counted.values())
        for name, products in counted.items():
            by_module[name] = by_module.get(name, Macs()) + products
    modules = {
        name: Count(_parameters(module), _sum(p for at, p in by_module.items() if f"{at}.".startswith(f"{name}.")))
        for name, module in model.named_modules()
        if name
    }
    return ModelCount(Count(_parameters(model), _sum(by_module.values())), modules, graphs)


def count_call(model: nn.Module, call: Callable[[], Any]) -> dict[str, Macs]:
    """MACs of a call, by the path of the innermost module of `model` that they happen in ("" for none).

    The call should have a batch of one, tensors on the meta device, and weights that require gradients (as they do
    by default): only then does PyTorch always treat a linear layer as one matrix product, whatever its input's layout.
    """
    counter = _Counter()
    with counter.attributing(model), torch.enable_grad(), counter:
        call()
    return counter.by_module


class _Counter(TorchDispatchMode):
    """Adds up what every operator costs, to the module that runs it."""

    def __init__(self) -> None:
        super().__init__()
        self.by_module: dict[str, Macs] = {}
        self._running = [""]

    @contextmanager
    def attributing(self, model: nn.Module) -> Iterator[None]:
        """Follows which of the model's modules is running."""
        hooks = []
        for name, module in model.named_modules():
            hooks.append(module.register_forward_pre_hook(partial(self._enter, name)))
            hooks.append(module.register_forward_hook(self._leave))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(self, name: str, module: Any, inputs: tuple[Any, ...]) -> None:
        self._running.append(name)
        if hasattr(module, "idle_macs"):
            self._add(Macs(idle=module.idle_macs(*inputs)))

    def _leave(self, module: nn.Module, inputs: object, output: object) -> None:
        self._running.pop()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        operator = func.overloadpacket
        if operator in flop_registry:
            products = flop_registry[operator](*args, **kwargs, out_val=result) // 2
            kind = "layers" if operator in _WITH_WEIGHTS else "attention"
            self._add(Macs(**{kind: products}))
        return result

    def _add(self, products: Macs) -> None:
        name = self._running[-1]
        self.by_module[name] = self.by_module.get(name, Macs()) + products


def _inputs(graph: GraphSpec) -> list[Tensor]:
    def size(dimension: int | str) -> int:
        return 1 if isinstance(dimension, str) else dimension

    return [
        torch.empty([size(d) for d in tensor.shape], dtype=getattr(torch, tensor.dtype), device="meta")
        for tensor in graph.inputs
    ]


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _sum(products: Iterable[Macs]) -> Macs:
    return sum(products, Macs())
