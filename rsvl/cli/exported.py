"""How `rsvl export` and `rsvl quantize` show a bundle that they wrote."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rsvl.cli import quantize_options
from rsvl.cli.console import print_json, print_line, print_note, print_table

if TYPE_CHECKING:
    from rsvl.export import Exported


def show(exported: Exported, json: bool) -> None:
    """Prints what was written, how it compares with its reference, and what was kept in float32."""
    if json:
        print_json(_as_json(exported))
        return
    found, manifest = exported.verification, exported.manifest
    rows = [
        [name, f"{difference:.3g}", f"{found.largest_value[name]:.3g}"]
        for name, difference in found.largest_difference.items()
    ]
    title = f"{found.inputs} inputs against {found.reference}"
    print_table(["output", "largest difference", "largest value"], rows, title=title)
    for measure in found.measures:
        print_line(f"worst {measure}")
    if found.lack:
        print_note(f"warning: the verification says little: {found.lack}")
    if manifest.quantization is not None:
        quantize_options.show(manifest.quantization, manifest.precision)
    for name, reason in manifest.kept_fp32.items() if manifest.precision != "fp32" else ():
        print_note(f"kept in float32: {name} ({reason})")
    for path in (exported.path, exported.packed):
        if path:
            print_line(f"{path}: {manifest.model.name} in {manifest.precision}, {_size(path) / 1e6:.1f} MB")


def _as_json(exported: Exported) -> dict[str, object]:
    manifest = exported.manifest
    return {
        "bundle": str(exported.path),
        "packed": str(exported.packed) if exported.packed else None,
        "bytes": _size(exported.path),
        "model": manifest.model.name,
        "precision": manifest.precision,
        "source": manifest.source,
        "kept_fp32": manifest.kept_fp32,
        "quantization": asdict(manifest.quantization) if manifest.quantization else None,
        "verification": asdict(exported.verification),
    }


def _size(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())
