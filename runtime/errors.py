"""Every failure that rsvl reports: one base class, one class per kind of failure.

A message names the cause and the remedy in one line. The command line prints it to stderr as it is and exits with the
class's `exit_code` (see `rsvl.cli`); Python callers catch `RsvlError` or the class they can act on.
"""


class RsvlError(Exception):
    """The thing asked for failed. Exit code 1."""

    exit_code = 1


class UsageError(RsvlError):
    """Wrong usage: an unknown name, an option that does not fit. Exit code 2."""

    exit_code = 2


class InputError(RsvlError):
    """An input file or value that cannot be used: missing, truncated, of the wrong type or size. Exit code 2."""

    exit_code = 2


class BundleError(InputError):
    """A bundle that is damaged, incomplete, unsafe or written by a newer rsvl. Exit code 2."""


class CheckpointError(InputError):
    """A checkpoint that does not fit the model: names the keys and shapes. Exit code 2."""


class DatasetError(InputError):
    """A dataset whose files are missing or not laid out as published. Exit code 2."""


class MissingComponentError(RsvlError):
    """An optional package or backend is not installed; names the extra that installs it. Exit code 3."""

    exit_code = 3


class VerificationError(RsvlError):
    """An exported graph disagrees with PyTorch, or a golden test with this device. Exit code 1."""


class OutputError(RsvlError):
    """The result could not be written: disk full, no permission. Exit code 1."""


class IncompleteError(RsvlError):
    """Some images, or tiles of them, failed and were reported; what belongs to the others is whole. Exit code 1."""


class DeviceError(RsvlError):
    """The GPU failed: none is there, it is out of memory, it stopped answering. Exit code 1."""


class EngineError(RsvlError):
    """A TensorRT engine cannot be built or loaded. Exit code 1."""


class UndecidedError(RsvlError):
    """A gate found something beyond its limit that chance may explain. Exit code 4."""

    exit_code = 4


class RegressionError(RsvlError):
    """A bundle is worse than its baseline by more than a gate allows. Exit code 1."""
