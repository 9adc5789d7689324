"""Scrubbing: whether a bundle that has been loaded for long still is what was checked, on the disk and in memory.

Files are hashed. What a backend holds in memory cannot be read back: weights are copied, packed and folded into others
when a graph is loaded. So the golden test is repeated, and its outputs are compared with those of the first time bit by
bit: every weight that they depend on takes part in them. Features of sentences, which are computed once and kept, are
hashed as they lie in memory.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsvl.runtime.bundle import Bundle
from rsvl.runtime.check import CheckReport, golden_test
from rsvl.runtime.errors import BundleError, RsvlError, VerificationError
from rsvl.runtime.healing import heal
from rsvl.runtime.loading import load
from rsvl.runtime.tasks.runner import Runner


@dataclass(frozen=True)
class ScrubReport:
    """What scrubbing found.

    Attributes:
        files: the names of the bundle's files that are not what they were, on the disk.
        memory: what is not what it was, in memory; empty where nothing is known to have changed.
        seconds: how long it took.
    """

    files: tuple[str, ...]
    memory: str
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether nothing has changed."""
        return not self.files and not self.memory

    def __str__(self) -> str:
        changed = [f"{name} has changed on the disk" for name in self.files]
        return "; ".join([*changed, *([self.memory] if self.memory else [])]) or "nothing has changed"


class Scrubber:
    """Watches over a loaded bundle.

    Attributes:
        runner: the loaded bundle; another one after `reload`.
        exact: whether this device repeats its outputs bit by bit. Where it does not, a change in memory is found only
            where the golden test fails.

    Examples:
        >>> import rsvl.runtime
        >>> scrubber = Scrubber(rsvl.runtime.load("tiny.bundle"), ["the red square"])
        >>> report = scrubber.scrub()
        >>> report.passed, str(report), scrubber.exact
        (True, 'nothing has changed', True)
    """

    def __init__(self, runner: Runner, texts: Sequence[str] = (), spare: str | Path | None = None) -> None:
        """Runs the golden test twice, for what to compare with.

        Args:
            runner: a loaded bundle.
            texts: sentences whose features are kept and are hashed, too.
            spare: another copy of the bundle, from which `reload` mends this one.

        Raises:
            BundleError: the bundle has no golden test.
            VerificationError: the golden test fails here.
        """
        self._texts, self._spare = list(texts), None if spare is None else Path(spare)
        self._watch(runner)

    def scrub(self) -> ScrubReport:
        """Compares files with their hashes and repeats the golden test."""
        started = time.perf_counter()
        files = tuple(self.runner.bundle.changed_files())
        return ScrubReport(files, self._changed_in_memory(), time.perf_counter() - started)

    def reload(self) -> Runner:
        """Mends the bundle's files from the spare copy, if there is one, and loads it anew.

        Raises:
            BundleError: the files are damaged, and the spare copy does not help.
            VerificationError: the golden test fails here.
        """
        bundle, provider = self.runner.bundle, self.runner.provider
        if self._spare is not None:
            heal(bundle.source, self._spare)
        self._watch(load(bundle.source, provider))
        return self.runner

    def _watch(self, runner: Runner) -> None:
        self.runner = runner
        first = self._golden_test()
        if not first.passed:
            failed = ", ".join(str(measure) for measure in first.measures if not measure.passed)
            raise VerificationError(f"{first.bundle}: the golden test fails on {first.provider}: {failed}")
        self._fingerprint, self._features = first.fingerprint, self._hash_features()
        self.exact = self._golden_test().fingerprint == first.fingerprint

    def _golden_test(self) -> CheckReport:
        return golden_test(self.runner.bundle, self.runner.session)

    def _changed_in_memory(self) -> str:
        try:
            found = self._golden_test()
            features = self._hash_features()
        except BundleError:  # of the golden test's own files, which are hashed
            return ""
        except RsvlError as error:
            return f"the golden test fails: {error}"
        if not found.passed:
            return "the golden test fails"
        if self.exact and found.fingerprint != self._fingerprint:
            return "the golden test gives other bits"
        return "" if features == self._features else "the features of sentences have changed"

    def _hash_features(self) -> str:
        digest = hashlib.sha256()
        for features in self.runner.encode_sentences(self._texts) if self._texts else ():
            for name in sorted(features):
                digest.update(np.ascontiguousarray(features[name]).data)
        return digest.hexdigest()


def open_bundle(source: str | Path, spare: str | Path | None = None) -> Bundle:
    """Opens a bundle whose files are hashed; where it is damaged, it is mended from a spare copy first.

    Raises:
        BundleError: it is damaged, and there is no spare copy that helps.
    """
    if spare is None:
        return Bundle(source)
    try:
        return Bundle(source)
    except BundleError:
        heal(source, spare)
        return Bundle(source)
