"""Whether weights fit a model, and a model that is as it was where they do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

from torch import Tensor, nn

from rsvl.modules.bases.exportable import ExportableModel, encoder_state, load_encoder_state
from rsvl.runtime.errors import CheckpointError

COUNTER = ".num_batches_tracked"
"""What ends the names of buffers that a checkpoint may lack: they count a norm's batches and change no result."""

_SHOWN = 3


@contextmanager
def adapted(model: Any, state: Mapping[str, Tensor], extra: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Gives a model the sizes of weights and the extra state saved with them; undone where the block does not fit them.

    Yields the extra state that it had before.

    Args:
        model: any; one that is no `ExportableModel` has no sizes to set, and its encoders' settings as extra state.
        state: the weights, in the model's names.
        extra: what `ExportableModel.load_extra_state` takes.

    Raises:
        CheckpointError: the extra state is damaged; or raised within the block.
    """
    exportable = isinstance(model, ExportableModel)
    with model.resized(state) if exportable else nullcontext():
        before = model.extra_state() if exportable else encoder_state(model)
        load = model.load_extra_state if exportable else partial(load_encoder_state, model)
        weights = model.state_dict()  # the weights themselves, not copies
        try:
            with _named_damage():
                load(extra)
            yield before
        except CheckpointError:
            load(before)
            model.load_state_dict(weights)
            raise


@contextmanager
def _named_damage() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise CheckpointError(f"what was saved beside the weights is damaged ({error}): save them anew") from None


def check_fit(given: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str, target: str) -> None:
    """Raises a `CheckpointError` that names the keys and shapes that differ, if any do.

    Args:
        given: a checkpoint's tensors.
        expected: the model's.
        source: what the message calls the checkpoint.
        target: what it calls what is to be filled.
    """
    differing = [
        f"{key} is {list(value.shape)} and should be {list(expected[key].shape)}"
        for key, value in given.items()
        if key in expected and value.shape != expected[key].shape
    ]
    coded = [
        f"{key} as {str(value.dtype).removeprefix('torch.')}"
        for key, value in given.items()
        if key in expected and expected[key].is_floating_point() and not _is_plain(value)
    ]
    if coded:
        raise CheckpointError(
            f"{source} holds quantized weights without what their numbers mean ({some_of(coded)}): "
            "give the floating-point weights that they were made from"
        )
    parts = [
        ("other shapes", differing),
        ("missing", [key for key in expected if key not in given and not key.endswith(COUNTER)]),
        ("unexpected", [key for key in given if key not in expected]),
    ]
    report = "; ".join(f"{what}: {some_of(names)}" for what, names in parts if names)
    if report:
        raise CheckpointError(f"{source} does not fit {target} ({report}): give a checkpoint of the same architecture")


def _is_plain(value: Tensor) -> bool:
    """Whether a tensor's numbers are what they say: floating-point of 16 bits or more."""
    return value.is_floating_point() and value.dtype.itemsize >= 2


def check_finite(given: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str) -> None:
    """Raises a `CheckpointError` that names the entries with NaN or infinity; the model's own constants may have them.

    Args:
        given: a checkpoint's tensors.
        expected: the model's.
        source: what the message calls the checkpoint.
    """
    broken = [key for key, value in given.items() if not value.isfinite().all() and expected[key].isfinite().all()]
    if broken:
        raise CheckpointError(
            f"{source} holds NaN or infinity ({some_of(broken)}): its training diverged, or it is damaged"
        )


def some_of(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def name_of(model: nn.Module) -> str:
    """The preset's name; a module without a declaration goes by its class."""
    spec: Any = getattr(model, "spec", None)
    return str(spec.name) if spec is not None else type(model).__name__
