"""The forms of a graph that backends compute fastest: small ONNX files over the weights beside the standard graph.

The standard graph holds what every runtime knows, in the plainest form, and is what TensorRT takes and what is
quantized. One file has one change of form; this one says which backend gets which:

    attention.py        softmax(Q·Kᵀ)·V as one node of ONNX Runtime's
    winograd.py         large 3×3 convolutions with fewer multiplications
    depthwise_convs.py  depthwise convolutions with one output per channel
    softplus_nodes.py   softplus without a logarithm
    matching.py         what the others share
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from rsvl.export.graph_files import put_weights_beside
from rsvl.export.symbolics import add_functions
from rsvl.export.variants import attention
from rsvl.export.variants.attention import fuse_attention
from rsvl.export.variants.depthwise_convs import to_plain_depthwise
from rsvl.export.variants.softplus_nodes import to_fast_softplus
from rsvl.export.variants.winograd import to_winograd
from rsvl.runtime.manifest import GraphSpec, GraphVariant, Manifest

__all__ = ["FORMS", "add_variants", "backends_of", "in_form", "write_variants"]


def _for_onnxruntime(model: ir.Model) -> bool:
    """Fuses attention and gives convolutions and softplus other forms: on CPUs, in float32."""
    fused = fuse_attention(model.graph)
    if fused:
        model.graph.opset_imports[attention.DOMAIN] = 1
    changes = (to_winograd, to_plain_depthwise, to_fast_softplus)
    return fused + sum(change(model.graph) for change in changes) > 0


#: Backend → what brings a graph into its form, in place; it returns whether anything changed.
FORMS: dict[str, Callable[[ir.Model], bool]] = {"onnxruntime": _for_onnxruntime}


def add_variants(directory: Path, manifest: Manifest) -> Manifest:
    """Writes the variants of the graphs of a bundle that is being written.

    Args:
        directory: the bundle's folder, with its standard graphs.
        manifest: what is known of it; its graphs have no variants.

    Returns:
        The manifest with the variants; their hashes are left to `write_manifest`.
    """
    graphs = tuple(replace(spec, variants=tuple(write_variants(directory, spec))) for spec in manifest.model.graphs)
    return replace(manifest, model=replace(manifest.model, graphs=graphs))


def backends_of(manifest: Manifest) -> list[str]:
    """The backends that some graph of a bundle has a variant for."""
    return list(dict.fromkeys(variant.backend for spec in manifest.model.graphs for variant in spec.variants))


def in_form(manifest: Manifest, backend: str = "") -> Manifest:
    """A manifest whose graphs have one form alone: that for a backend, by default the standard one."""
    graphs = tuple(replace(spec, file=spec.file_for(backend), variants=()) for spec in manifest.model.graphs)
    return replace(manifest, model=replace(manifest.model, graphs=graphs))


def write_variants(directory: Path, spec: GraphSpec) -> Iterator[GraphVariant]:
    """Writes the variants of a graph whose standard file is in a folder; yields those that there are."""
    for backend, change in FORMS.items():
        model = ir.load(directory / spec.file)
        if change(model):
            put_weights_beside(directory, spec)
            variant = GraphVariant(backend, f"{spec.name}.{backend}.onnx")
            _write(model, ir.load(directory / spec.file), directory / variant.file)
            yield variant


def _write(model: ir.Model, standard: ir.Model, path: Path) -> None:
    """Writes a variant that reads its weights from where the standard graph has them."""
    for name, weight in model.graph.initializers.items():
        if name in standard.graph.initializers:
            weight.const_value = standard.graph.initializers[name].const_value
    RemoveUnusedNodesPass()(model)
    model.functions.clear()  # those that are used are added again
    ir.save(model, path)
    proto = onnx.load_model(path, load_external_data=False)
    add_functions(proto)
    onnx.save_model(proto, path)
    onnx.checker.check_model(path)
