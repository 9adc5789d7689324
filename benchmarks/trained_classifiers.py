r"""Scene classifiers that we trained alike: their accuracy against what they cost, as a record, a table and a plot.

python -m rsvl.benchmarks.trained_classifiers --plot docs/eurosat-classifiers.svg
python -m rsvl.benchmarks.trained_classifiers --model rsmamba-tiny --epochs 20 --run 0=eval-0.json \
  --run 1=eval-1.json --bench fp32.json --bench int8.json --plot docs/eurosat-classifiers.svg

The second adds a model, or replaces it: each ``SEED=FILE`` is what `rsvl eval --json` printed for the weights of one
seed, each ``--bench`` what `rsvl bench --threads 1 --json` printed for the bundle of one precision, made from the
first of them. Parameters and MACs are counted. All measurements of a record are of one machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsvl.benchmarks.markdown import markdown_table
from rsvl.benchmarks.plot import check_drawable, save
from rsvl.benchmarks.records import RESULTS, keep
from rsvl.runtime.errors import InputError, RsvlError, UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RECORD = RESULTS / "eurosat-classifiers.json"
_COLOURS = ("#31688e", "#35b779", "#440154", "#b5651d", "#c23b75", "0.4")
_LARGEST = 1800.0
"""Area of the largest bubble in square points."""


@dataclass(frozen=True)
class Run:
    """One training: its seed, and top-1 accuracy, κ and mean F1 on the test split, 0…1."""

    seed: int
    top1: float
    kappa: float
    mean_f1: float


@dataclass(frozen=True)
class BundleCost:
    """A bundle: images per second at batch 1 on one CPU thread, and its bytes."""

    images_per_s: float
    bytes: int


@dataclass(frozen=True)
class Trained:
    """One model.

    Attributes:
        model: its name in the registry.
        epochs: of each run.
        runs: one per seed.
        bundles: by precision: ``fp32``, ``fp16``, ``int8``.
        parameters: how many.
        macs: multiply-adds for one image.
    """

    model: str
    epochs: int
    runs: tuple[Run, ...]
    bundles: dict[str, BundleCost]
    parameters: int
    macs: int

    @property
    def top1(self) -> tuple[float, float]:
        """Mean over the seeds, and their standard deviation (0 for one seed)."""
        values = [run.top1 for run in self.runs]
        return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


@dataclass(frozen=True)
class Record:
    """Everything on record; `hardware` and `data` say what the speeds and the accuracies were measured on."""

    hardware: str
    data: str
    models: tuple[Trained, ...] = field(default=())

    def with_model(self, trained: Trained) -> Record:
        """The record with a model in the place of an earlier one of its name."""
        others = [each for each in self.models if each.model != trained.model]
        return Record(self.hardware, self.data, tuple(sorted([*others, trained], key=lambda each: each.model)))


def read(path: Path) -> Record:
    """Reads a record.

    Raises:
        InputError: it is missing or is none.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Record(data["hardware"], data["data"], tuple(_trained(each) for each in data["models"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a record of trained classifiers ({error!r}): name another --record") from error


def _trained(data: dict[str, Any]) -> Trained:
    bundles = {precision: BundleCost(**cost) for precision, cost in data["bundles"].items()}
    return Trained(**{**data, "runs": tuple(Run(**run) for run in data["runs"]), "bundles": bundles})


def collect(model: str, epochs: int, runs: Sequence[str], benches: Sequence[Path]) -> tuple[Trained, str]:
    """A model from the commands' JSON; and the hardware of its speeds.

    Args:
        model: its name in the registry.
        epochs: of each run.
        runs: ``SEED=FILE`` each, the output of `rsvl eval --json`.
        benches: the output of `rsvl bench --json` each.

    Raises:
        UsageError: no run or no fp32 bundle, a seed that is no number, or bundles of another model or machine.
        InputError: a file that is no such output.
    """
    found = tuple(_run(text) for text in runs)
    bundles, machines = {}, set()
    for path in benches:
        data = _json(path)
        try:
            if data["model"] != model or data["threads"] != 1:
                raise UsageError(f"{path} is of {data['model']} on {data['threads']} threads: give {model} on one")
            bundles[data["precision"]] = BundleCost(
                round(1e3 / data["runners"][0]["ms"]["p50"], 1), round(1e6 * data["footprint"]["weights_mb"])
            )
            machines.add(data["hardware"])
        except (KeyError, TypeError, IndexError) as error:
            raise InputError(f"{path} is no output of rsvl bench --json ({error!r})") from error
    if not found or "fp32" not in bundles or len(machines) != 1:
        raise UsageError("a model needs a --run and a --bench of its fp32 bundle, all of one machine")
    parameters, macs = _counted(model)
    return Trained(model, epochs, found, bundles, parameters, macs), machines.pop()


def _run(text: str) -> Run:
    seed, _, file = text.partition("=")
    if not seed.isdecimal() or not file:
        raise UsageError(f"--run {text}: give SEED=FILE")
    data = _json(Path(file))
    try:
        return Run(int(seed), data["top-1"], data["kappa"], data["mean F1"])
    except (KeyError, TypeError) as error:
        raise InputError(f"{file} is no output of rsvl eval --json for classes ({error!r})") from error


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}") from error


def _counted(model: str) -> tuple[int, int]:
    from rsvl.benchmarks.count import count
    from rsvl.registry import create

    total = count(partial(create, model)).total
    return total.parameters, total.macs.total


def markdown(record: Record) -> str:
    """The record as a page."""
    rows = []
    for each in record.models:
        mean, deviation = each.top1
        spread = f" ± {100 * deviation:.2f}" if len(each.runs) > 1 else ""
        kappa = statistics.fmean(run.kappa for run in each.runs)
        speeds = [_speed(each, precision) for precision in ("fp32", "fp16", "int8")]
        size = f"{each.bundles['fp32'].bytes / 1e6:.1f}"
        cells = [f"{len(each.runs)}", f"{each.epochs}", f"{100 * mean:.2f}{spread}", f"{kappa:.4f}", *speeds, size]
        rows.append([each.model, *cells, f"{each.parameters / 1e6:.2f}", f"{each.macs / 1e9:.3f}"])
    columns = ["seeds", "epochs", "top-1 (%)", "κ", "fp32", "fp16", "int8", "fp32 (MB)", "parameters (M)", "MACs (G)"]
    parts = [
        f"# Scene classifiers of our own training, on {record.hardware}",
        f"{record.data}. Images per second of one image at a time on one thread, by precision.",
        markdown_table(["model", *columns], rows),
    ]
    return "\n\n".join(parts) + "\n"


def _speed(trained: Trained, precision: str) -> str:
    cost = trained.bundles.get(precision)
    return "–" if cost is None else f"{cost.images_per_s:.0f}"


def draw(record: Record, path: Path) -> None:
    """Draws accuracy against images per second, a bubble's area being the size of the fp32 bundle.

    Raises:
        UsageError: nothing is on record, or the suffix is another.
        MissingComponentError: Matplotlib is not installed.
        OutputError: it cannot be written.
    """
    check_drawable(path)
    if not record.models:
        raise UsageError("the record has no model to draw: add one with --model")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    largest = max(each.bundles["fp32"].bytes for each in record.models)
    for number, each in enumerate(record.models):
        _bubble(axes, each, _LARGEST * each.bundles["fp32"].bytes / largest, _COLOURS[number % len(_COLOURS)])
    axes.margins(x=0.2, y=0.3)
    axes.set(xlabel=f"images per second, fp32, batch 1, one thread ({record.hardware})", ylabel="top-1 accuracy (%)")
    axes.set_title("Scene classifiers of our own training: accuracy against cost")
    axes.grid(color="0.9", zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    caption = f"{record.data}. Area: bytes of the fp32 bundle. Bars: standard deviation over the seeds."
    figure.supxlabel(caption, fontsize="small", color="0.35")
    save(figure, path)


def _bubble(axes: Axes, each: Trained, area: float, colour: str) -> None:
    (mean, deviation), cost = each.top1, each.bundles["fp32"]
    axes.errorbar(cost.images_per_s, 100 * mean, 100 * deviation, color=colour, zorder=1)
    axes.scatter(cost.images_per_s, 100 * mean, s=area, color=colour, alpha=0.75, edgecolors="white", zorder=2)
    axes.annotate(
        f"{each.model} ({cost.bytes / 1e6:.1f} MB)",
        (cost.images_per_s, 100 * mean),
        (0, area**0.5 / 2 + 5),
        textcoords="offset points",
        ha="center",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Adds a model where one is named, prints the table and draws the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=Path, default=RECORD, help=f"by default {RECORD}")
    parser.add_argument("--model", help="name in the registry of the model to add")
    parser.add_argument("--epochs", type=int, help="of each of its runs")
    parser.add_argument("--run", action="append", default=[], metavar="SEED=FILE", help="of rsvl eval --json")
    parser.add_argument("--bench", action="append", default=[], type=Path, metavar="FILE", help="of rsvl bench --json")
    parser.add_argument("--plot", type=Path, help="a .png or .svg file")
    given = parser.parse_args(arguments)
    try:
        if bool(given.model) != bool(given.run or given.bench or given.epochs):
            raise UsageError("--model, --epochs, --run and --bench go together")
        record = read(given.record)
        if given.model:
            trained, machine = collect(given.model, given.epochs or 0, given.run, given.bench)
            if machine != record.hardware:
                raise UsageError(f"the record's speeds are of {record.hardware}, these of {machine}")
            record = record.with_model(trained)
            keep(asdict(record), markdown(record), given.record.parent, given.record.stem)
        print(markdown(record), end="")
        if given.plot:
            draw(record, given.plot)
    except RsvlError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
