"""Measuring which backend, on how many threads, runs each graph of a bundle fastest here.

The default runs first: every other way is timed in turns with it, one graph at a time on the golden inputs, batch 1.
Of those that win beyond the noise the fastest is taken, if the golden outputs agree by the task's own rule. What was
chosen for all graphs together must then win once more, as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rsvl.runtime.backends.backend import Backend, in_main_memory
from rsvl.runtime.backends.onnxruntime.providers import find_provider
from rsvl.runtime.backends.per_graph import CPU_PROVIDERS, PerGraphSession, open_graphs
from rsvl.runtime.backends.session import Session, open_backend, open_choice, provider_names
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.check import read_golden, run_golden
from rsvl.runtime.errors import MissingComponentError, RsvlError, UsageError
from rsvl.runtime.hardware import cores
from rsvl.runtime.progress import Progress, silent
from rsvl.runtime.tasks import compare
from rsvl.runtime.temporary import exclusive
from rsvl.runtime.tuning.choice import TUNED, Choice, GraphChoice, bundle_hash, circumstances
from rsvl.runtime.tuning.duel import Duel, Timer, fight
from rsvl.runtime.tuning.store import remember, tuning_folder, writable_folder

SECONDS = 60.0
"""How long measuring may take by default, loading included."""

_OF_WHOLE = 0.25
"""The share of that time that is kept for the choice as a whole."""

_NO_TIME = "time was up"

Tensors = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """How one way to run a graph did.

    Attributes:
        graph: the graph's name; empty for all graphs together.
        choice: the way; None for different ways.
        duel: its times beside the default's; None where it was not timed.
        why_not: why it cannot be chosen, in one phrase; empty where it can.
    """

    graph: str
    choice: GraphChoice | None
    duel: Duel | None
    why_not: str = ""


@dataclass(frozen=True)
class TuneReport:
    """What `rsvl tune` found.

    Attributes:
        choice: what it chose, which `rsvl.runtime.load` takes from now on.
        path: the file that remembers it.
        trials: every way that was tried, graph by graph, and the whole.
        seconds: how long all of it took.
    """

    choice: Choice
    path: Path
    trials: tuple[Trial, ...]
    seconds: float


def tune(
    bundle: str | Path | Bundle,
    seconds: float = SECONDS,
    providers: Sequence[str] = (),
    progress: Progress = silent,
    timer: Timer | None = None,
) -> TuneReport:
    """Measures a bundle's graphs on what is here and remembers the fastest way to run each.

    Args:
        bundle: a bundle's directory or `.rsvl` file, or one that is opened already.
        seconds: how long measuring may take. What could not be timed by then keeps the default; a run that has begun
            and the comparison with the golden outputs are not broken off.
        providers: what to try beside the default, by the names that `rsvl.runtime.load` takes; by default ``cpu`` and,
            where it is installed, ``openvino``. What computes in a lower precision (``openvino-bf16``) or on a GPU is
            tried only where it is named; a GPU runs the whole bundle or none of it.
        progress: called as the work goes on.
        timer: the clock.

    Raises:
        BundleError: the bundle cannot be loaded, or has no golden test.
        UsageError: an unknown provider, no time, or a default on a GPU that `providers` does not name.
        MissingComponentError: a provider that is named is not installed.
        OutputError: no place to remember the choice.

    Examples:
        >>> report = tune("tiny.bundle", seconds=1, providers=["cpu"])
        >>> list(report.choice.graphs), report.path.parent.name
        (['image', 'text', 'head'], 'engines')
    """
    if not 0 < seconds < float("inf"):
        raise UsageError("--seconds must be above 0")
    names = [_known(name) for name in providers]
    opened = bundle if isinstance(bundle, Bundle) else Bundle(bundle)
    writable_folder(opened)  # before all that takes time
    timer = timer or Timer()
    progress(0, 1, "starting, after any other rsvl tune")  # timings of two would spoil each other
    with _alone():
        began = timer.now()
        tuning = _Tuning(opened, names, timer, began, began + seconds, progress)
        choice = tuning.choose()
        path = remember(opened, choice)
    return TuneReport(choice, path, tuple(tuning.trials), timer.now() - began)


@contextmanager
def _alone() -> Iterator[None]:
    """Lets the user's runs of `tune` take turns, where the cache folder can be written to."""
    with ExitStack() as stack:
        with suppress(OSError):
            tuning_folder().mkdir(parents=True, exist_ok=True)
            stack.enter_context(exclusive(tuning_folder()))
        yield


def _known(name: str) -> str:
    found = find_provider(name)
    short = name.lower() if found is None else found.name
    known = [each for each in provider_names() if each != TUNED]
    if short not in known:
        raise UsageError(f"unknown provider {name!r}: choose from {', '.join(known)}")
    return short


def thread_counts(available: int) -> list[int]:
    """The numbers of threads to try on so many cores, the most first: all, half of them, and powers of two."""
    powers = {2**power for power in range(available.bit_length())}
    return sorted({available, max(available // 2, 1), *powers}, reverse=True)


@dataclass
class _Tuning:
    """One measurement of one bundle."""

    bundle: Bundle
    providers: Sequence[str]
    timer: Timer
    began: float
    until: float
    progress: Progress
    trials: list[Trial] = field(default_factory=list)

    def choose(self) -> Choice:
        self._tell("loading the bundle on the default backend")
        default = open_backend(self.bundle, None, None)
        if default.provider not in (*CPU_PROVIDERS, *self.providers):
            raise UsageError(
                f"this bundle runs on {default.provider} here: name all that is to be timed, such as "
                f"--providers {default.provider},cpu,openvino"
            )
        inputs, expected = read_golden(self.bundle)
        first = {name: array[:1] for name, array in inputs.items()}
        kept = {graph.name: GraphChoice(default.provider) for graph in self.bundle.manifest.model.graphs}
        graphs = dict(kept)
        if default.provider in CPU_PROVIDERS:
            graphs |= self._graph_by_graph(default, inputs, first, expected)
        rivals = [graphs] if graphs != kept else []
        rivals += [dict.fromkeys(kept, GraphChoice(name)) for name in self._whole_providers(default)]
        won = [found for rival in rivals if (found := self._as_a_whole(default, rival, first, inputs, expected))]
        ratio, best = min(won, key=lambda found: found[0], default=(1.0, kept))
        return self._choice(default, best, ratio)

    def _choice(self, default: Backend, graphs: Mapping[str, GraphChoice], ratio: float) -> Choice:
        return Choice(
            bundle=bundle_hash(self.bundle),
            circumstances=circumstances(self.bundle),
            date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            default=default.provider,
            graphs=graphs,
            ratio=round(ratio, 4),
        )

    def _graph_by_graph(
        self, default: Backend, inputs: Tensors, first: Tensors, expected: Tensors
    ) -> dict[str, GraphChoice]:
        """The graphs that are faster otherwise, the slowest graph first: most is gained there."""
        known, one = (self._all_tensors(default, given) for given in (inputs, first))
        times = self._times(default, one)
        queue = [
            (name, choice) for choice in self._candidates(default) for name in sorted(times, key=lambda n: -times[n])
        ]
        end = self.until - _OF_WHOLE * (self.until - self.began)
        won: dict[str, list[Trial]] = {name: [] for name in times}
        for number, (name, choice) in enumerate(queue):
            self._tell(f"timing {name} on {choice}")
            share = times[name] / sum(times[each] for each, _ in queue[number:])
            trial = self._trial(default, name, choice, one, end, share)
            self.trials.append(trial)
            if trial.duel is not None and trial.duel.won:
                won[name].append(trial)
        found = {}
        for name, trials in won.items():
            for trial in sorted(trials, key=lambda each: each.duel.ratio if each.duel else 1.0):
                if trial.choice is not None and self._agrees(default, trial, inputs, known, expected):
                    found[name] = trial.choice
                    break
        return found

    def _all_tensors(self, default: Backend, inputs: Tensors) -> Tensors:
        """The golden inputs and what the default makes of them on the way, in main memory."""
        made = Session.of(self.bundle, default).run(inputs, [graph.name for graph in self.bundle.manifest.model.graphs])
        return inputs | {name: in_main_memory(tensor) for name, tensor in made.items()}

    def _times(self, default: Backend, known: Tensors) -> dict[str, float]:
        """Seconds that each graph takes by default, roughly."""
        taken = {}
        for graph in self.bundle.manifest.model.graphs:
            run = self._runner(default, graph.name, known)
            start = self.timer.now()
            run()
            taken[graph.name] = max(self.timer.now() - start, 1e-6)
        return taken

    def _candidates(self, default: Backend) -> list[GraphChoice]:
        """What runs single graphs, the most promising first."""
        names = [name for name in self.providers if name in CPU_PROVIDERS]
        if not self.providers:
            names = ["openvino", "cpu"] if circumstances(self.bundle).versions["openvino"] else ["cpu"]
        counts = thread_counts(cores())
        found = [GraphChoice(name, threads) for threads in counts for name in names]
        # The default on all cores differs from the default alone only where a core runs several threads.
        return sorted(found, key=lambda choice: choice == GraphChoice(default.provider, counts[0]))

    def _whole_providers(self, default: Backend) -> list[str]:
        """What runs all graphs or none: everything beside a default on a GPU, where features stay between graphs."""
        alone = CPU_PROVIDERS if default.provider in CPU_PROVIDERS else ()
        return [name for name in self.providers if name not in (*alone, default.provider)]

    def _runner(self, backend: Backend, graph: str, known: Tensors) -> Callable[[], Any]:
        spec = next(each for each in self.bundle.manifest.model.graphs if each.name == graph)
        feeds = {tensor.name: known[tensor.name] for tensor in spec.inputs}
        return partial(backend.run_graph, graph, [tensor.name for tensor in spec.outputs], feeds)

    def _trial(
        self, default: Backend, graph: str, choice: GraphChoice, known: Tensors, end: float, share: float
    ) -> Trial:
        """Times a graph otherwise, for a share of what is left until `end` when it is loaded."""
        if self.timer.now() >= end:
            return Trial(graph, choice, None, _NO_TIME)
        try:
            challenger = self._runner(open_graphs(self.bundle, choice, [graph]), graph, known)
            challenger()
            until = self.timer.now() + share * (end - self.timer.now())
            duel = fight(self._runner(default, graph, known), challenger, until, end, self.timer)
        except RsvlError as error:
            if self.providers and isinstance(error, MissingComponentError):
                raise  # it was asked for by name
            return Trial(graph, choice, None, str(error))
        return _judged(graph, choice, duel)

    def _agrees(
        self, default: Backend, trial: Trial, inputs: Tensors, known: Tensors, expected: dict[str, np.ndarray]
    ) -> bool:
        """Whether the golden outputs are right with one graph run otherwise; tells the trial's reason where not."""
        assert trial.choice is not None
        self._tell(f"comparing the outputs of {trial.graph} on {trial.choice}")
        backends = dict.fromkeys((graph.name for graph in self.bundle.manifest.model.graphs), default)
        backends[trial.graph] = open_graphs(self.bundle, trial.choice, [trial.graph])
        before = self._before(trial.graph, inputs, known)
        why_not = self._disagreement(Session.of(self.bundle, PerGraphSession(backends)), before, expected)
        if why_not:
            self.trials[self.trials.index(trial)] = Trial(trial.graph, trial.choice, trial.duel, why_not)
        return not why_not

    def _before(self, graph: str, inputs: Tensors, known: Tensors) -> Tensors:
        """The raw inputs, and the outputs of the graphs that run before one."""
        found = dict(inputs)
        for spec in self.bundle.manifest.model.graphs:
            if spec.name == graph:
                break
            found |= {tensor.name: known[tensor.name] for tensor in spec.outputs}
        return found

    def _disagreement(self, session: Session, inputs: Tensors, expected: dict[str, np.ndarray]) -> str:
        """Why outputs do not agree with the golden ones, in one phrase; empty where they do."""
        try:
            found, _ = run_golden(self.bundle, session, inputs, expected)
        except RsvlError as error:
            return str(error)
        wrong = [m for m in compare(self.bundle.manifest.model, expected, found, session.precision) if not m.passed]
        return f"its outputs differ: {wrong[0]}" if wrong else ""

    def _as_a_whole(
        self,
        default: Backend,
        graphs: dict[str, GraphChoice],
        first: Tensors,
        inputs: Tensors,
        expected: dict[str, np.ndarray],
    ) -> tuple[float, dict[str, GraphChoice]] | None:
        """The ratio of a whole run to the default's, and the graphs' choices, where it wins and agrees."""
        choices = set(graphs.values())
        choice = choices.pop() if len(choices) == 1 else None
        self._tell("timing all graphs together" if choice is None else f"timing all graphs on {choice}")
        try:
            challenger = Session.of(self.bundle, open_choice(self.bundle, self._choice(default, graphs, 1.0)))
        except RsvlError as error:
            if isinstance(error, MissingComponentError):
                raise
            self.trials.append(Trial("", choice, None, str(error)))
            return None
        why_not = self._disagreement(challenger, inputs, expected)
        if why_not:
            self.trials.append(Trial("", choice, None, why_not))
            return None
        names = [graph.name for graph in self.bundle.manifest.model.graphs]
        ours = partial(self._whole, Session.of(self.bundle, default), first, names)
        theirs = partial(self._whole, challenger, first, names)
        ours(), theirs()
        # What was promising graph by graph is given the rounds that a verdict needs, even past the time.
        until = max(self.until, self.timer.now() + _OF_WHOLE * (self.until - self.began))
        trial = _judged("", choice, fight(ours, theirs, until, until, self.timer))
        self.trials.append(trial)
        return (trial.duel.ratio, graphs) if trial.duel is not None and trial.duel.won else None

    def _whole(self, session: Session, first: Tensors, names: list[str]) -> None:
        outputs = session.run(first, names)
        for name in self.bundle.manifest.model.final_outputs:
            in_main_memory(outputs[name])

    def _tell(self, stage: str) -> None:
        now = min(self.timer.now(), self.until)
        self.progress(now - self.began, self.until - self.began, stage)


def _judged(graph: str, choice: GraphChoice | None, duel: Duel | None) -> Trial:
    if duel is None:
        return Trial(graph, choice, None, _NO_TIME)
    return Trial(graph, choice, duel, "" if duel.won else "not faster beyond the noise")
