"""The TensorRT plugins of installed packages, found by their entry points: the runtime names none of those packages.

A package lists each of its plugins in the group `GROUP`, by the type of the ONNX nodes that it runs; the entry point
leads to a `PluginProvider`. pip writes the list into the package's metadata, for a wheel and for an editable
installation alike, so it is read without importing the package.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata
from typing import Protocol

from rsvl.runtime.errors import MissingComponentError

GROUP = "rsvl_tensorrt_plugins"


class PluginProvider(Protocol):
    """Registers plugins with TensorRT in this process, to build engines that call them and to load such engines."""

    def __call__(self, names: Iterable[str]) -> None:
        """Registers plugins; those that it has registered before stay as they are.

        Args:
            names: of its plugins.

        Raises:
            MissingComponentError: something that they need is not installed.
            RsvlError: TensorRT refuses them.
        """


def register_plugins(names: Iterable[str]) -> None:
    """Registers plugins with TensorRT, each by the package that has it.

    Args:
        names: types of ONNX nodes.

    Raises:
        MissingComponentError: no installed package has such a plugin, or something that it needs is missing.
        RsvlError: TensorRT refuses a plugin.
    """
    found = {entry.name: entry for entry in metadata.entry_points(group=GROUP)}
    for name in names:
        if name not in found:
            raise MissingComponentError(
                f"no TensorRT plugin {name} is installed (there are: {', '.join(sorted(found)) or 'none'}): leave out "
                "--plugin, or install the package that has it"
            )
        register: PluginProvider = found[name].load()
        register([name])
