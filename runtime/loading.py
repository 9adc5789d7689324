"""Loading a bundle: which runner answers for its task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rsvl.runtime.bundle import Bundle
from rsvl.runtime.tasks import find_task


def load(
    bundle: str | Path | Bundle, provider: str | None = None, threads: int | None = None, check: bool = True
) -> Any:
    """Loads a bundle to run it.

    Args:
        bundle: a bundle's directory or `.rsvl` file, or one that is opened already.
        provider: force ``engines``, ``openvino``, ``openvino-bf16`` or an ONNX Runtime provider (``cpu``, ``cuda``,
            ``tensorrt`` …); None, without `threads` either, takes what `rsvl tune` chose here (``tuned``), else the
            bundle's engines or the first of ONNX Runtime's providers that is present and starts; `Runner.provider`
            says which.
        threads: CPU threads; None takes the physical cores, or as `rsvl tune` chose.
        check: whether to compare all files' SHA-256 with the manifest.

    Returns:
        The runner of the bundle's task: a `Segmenter`, `Grounder`, `Answerer` or `Matcher`, or a `RawRunner` for any
        other task. (`Segmenter.open` and so on return it typed.)

    Raises:
        BundleError: damaged, incomplete, unsafe, or written by a newer rsvl.
        MissingComponentError: the forced provider is not installed.

    Examples:
        >>> import rsvl.runtime
        >>> runner = rsvl.runtime.load("tiny.bundle", provider="cpu")
        >>> type(runner).__name__, runner.spec.name, runner.provider
        ('Segmenter', 'toy', 'cpu')
    """
    opened = bundle if isinstance(bundle, Bundle) else Bundle(bundle, check=check)
    return find_task(opened.manifest.model.task).runner(opened, provider, threads)
