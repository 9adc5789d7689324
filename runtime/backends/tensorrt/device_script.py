"""A script and notes to copy to a device that must build its engines itself."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from rsvl.runtime.atomic import write_text
from rsvl.runtime.backends.tensorrt.profiles import Ranges, Shape, checked_ranges, profile
from rsvl.runtime.backends.tensorrt.store import EngineStore
from rsvl.runtime.backends.tensorrt.targets import Target, check_precision
from rsvl.runtime.bundle import ENGINES, Bundle
from rsvl.runtime.errors import UsageError
from rsvl.runtime.extras import install
from rsvl.runtime.manifest import GraphSpec

_SCRIPT = """\
#!/bin/sh
# Builds the engines of {model} ({precision}) on {title}. Run it on the device, from anywhere:
#     sh {path}
set -eu
cd "$(dirname "$0")/.."
{before}
if command -v rsvl >/dev/null 2>&1; then
    # Engines with notes, which rsvl's runtime finds and checks.
    rsvl engine . {options}
    rsvl check . --provider engines
    exit
fi

# Without rsvl: plain engines for a program of your own. rsvl's runtime loads none that it did not build.
TRTEXEC=$(command -v trtexec || echo /usr/src/tensorrt/bin/trtexec)
if [ ! -x "$TRTEXEC" ]; then
    echo "neither rsvl nor trtexec is here: install TensorRT ({tensorrt}), or pip install rsvl" >&2
    exit 3
fi
mkdir -p engines/trtexec
{builds}
"""
_BUILD = """\
"$TRTEXEC" --onnx={onnx} --saveEngine={partial} --stronglyTyped --noTF32 \\
    --timingCacheFile=engines/trtexec/timing.cache --skipInference{shapes}
mv {partial} {engine}
"""
_NOTES = """\
# Engines of {model} for {title}

An engine of TensorRT runs on the GPU and the TensorRT version that built it, so {title} builds its own.

1. Copy the whole bundle to the device (the engines of other machines in `{engines}/` do no harm there).
2. TensorRT there: {tensorrt}.{hardware}
3. rsvl there needs Python 3.10 or newer with TensorRT's bindings for it. A server: `{install}`.
   JetPack has them for its own Python (6: 3.10, 7: 3.12), which a venv sees with
   `python3 -m venv --system-site-packages`; there `pip install rsvl cuda-core`, with `'cuda-bindings<13'` on JetPack 6
   and `cuda-bindings` on JetPack 7. Or do without rsvl, see below.
4. `sh {path}`. It takes minutes: the builder tries kernels on the device. Run nothing else meanwhile.

With rsvl the script also runs the bundle's golden test on the new engines. Without it, it falls back to `trtexec`, and
writes `{engines}/trtexec/*.engine` for programs of your own; rsvl's runtime does not load those.

Shapes that the engines are built for (min, opt, max):

{table}
If memory runs out while building, write this script again with a smaller
`--max-batch`, or with `--workspace 512`.
"""


def write_device_script(bundle: Bundle, target: Target, ranges: Ranges, workspace: int | None = None) -> list[Path]:
    """Writes a shell script and notes for a device into a bundle's `engines/`.

    Args:
        bundle: a bundle's folder, opened.
        target: the device.
        ranges: the sizes of each dynamic dimension by name.
        workspace: MiB of scratch memory that engines may use; None for TensorRT's default.

    Returns:
        The script and the notes.

    Raises:
        UsageError: a packed bundle; ranges that are not those of the graphs.
        EngineError: a device without the bundle's precision.
        OutputError: disk full, no permission.
    """
    if bundle.packed:
        raise UsageError(f"{bundle.source} is packed: unpack it first (python -m zipfile -e), the script goes inside")
    check_precision(bundle.manifest.precision, target.capability)
    model = bundle.manifest.model
    ranges = checked_ranges(model.graphs, ranges)
    script = Path(ENGINES) / f"build-on-{target.name}.sh"
    words = {
        "model": _plain(model.name),
        "precision": _plain(bundle.manifest.precision),
        "title": target.title,
        "path": script.as_posix(),
        "tensorrt": target.tensorrt,
        "engines": ENGINES,
    }
    store = EngineStore(bundle)
    store.make_folder()
    before = "".join(f"{line} || echo 'not done: {line}' >&2\n" for line in target.before)
    builds = "".join(_build(graph, profile(graph, ranges), workspace) for graph in model.graphs)
    text = _SCRIPT.format(**words, before=before, options=_options(ranges, workspace), builds=builds)
    table = "".join(
        f"- {_plain(graph.name)}: {_plain(name)} {_shape(a)}, {_shape(b)}, {_shape(c)}\n"
        for graph in model.graphs
        for name, (a, b, c) in profile(graph, ranges).items()
    )
    hardware = (
        f" It has {target.memory} GB of memory and compute capability {target.capability}." if target.memory else ""
    )
    notes = _NOTES.format(**words, table=table, hardware=hardware, install=install("tensorrt"))
    written = [bundle.root / script, (bundle.root / script).with_suffix(".md")]
    for path, content in zip(written, (text, notes), strict=True):
        write_text(path, content)
    return written


def _options(ranges: Ranges, workspace: int | None) -> str:
    options = []
    for name, r in ranges.items():
        if name == "batch":
            options += ["--max-batch", str(r.max), "--opt-batch", str(r.opt)]
        else:
            options += ["--range", f"{name}={r.min}:{r.opt}:{r.max}"]
    if workspace is not None:
        options += ["--workspace", str(workspace)]
    return " ".join(map(shlex.quote, options))


def _build(graph: GraphSpec, shapes: Mapping[str, tuple[Shape, Shape, Shape]], workspace: int | None) -> str:
    stem = f"engines/trtexec/{Path(graph.file).stem}"
    options = ""
    for number, option in enumerate(("--minShapes", "--optShapes", "--maxShapes")):
        each = ",".join(f"{name}:{_shape(triple[number])}" for name, triple in shapes.items())
        options += f" \\\n    {shlex.quote(f'{option}={each}')}" if each else ""
    if workspace is not None:
        options += f" \\\n    --memPoolSize=workspace:{workspace}M"
    quoted = {"onnx": graph.file, "partial": f"{stem}.partial", "engine": f"{stem}.engine"}
    return _BUILD.format(shapes=options, **{name: shlex.quote(path) for name, path in quoted.items()})


def _shape(shape: Shape) -> str:
    return "x".join(map(str, shape))


def _plain(text: str) -> str:
    """A manifest's word for a comment: it may not end the line."""
    return "".join(c if c.isalnum() or c in "-_+. " else "_" for c in text)
