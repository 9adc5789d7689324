"""Reads a stranger's XML without following anything in it: elements, attributes and text only.

A document type declaration can define entities that grow to gigabytes or name files to read. Annotations need none, so
a file that has one is refused before any entity is known.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from rsvl.runtime.errors import DatasetError

MAX_BYTES = 16 << 20
"""Largest file read: an annotation of a hundred objects has 30 kB."""


def read_xml(path: Path) -> Element:
    """Reads an XML file's tree.

    Raises:
        DatasetError: missing, larger than `MAX_BYTES`, not well-formed, or with a document type declaration.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror}): check the dataset's root") from error
    if len(data) > MAX_BYTES:
        raise DatasetError(f"{path} has {len(data) >> 20} MiB, more than the {MAX_BYTES >> 20} MiB that are read")
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(data, True)
        return builder.close()
    except _DeclarationError:
        raise DatasetError(
            f"{path} declares a document type, which annotations never need: refusing it; remove the <!DOCTYPE …>"
        ) from None
    except (expat.ExpatError, AssertionError, LookupError, ValueError) as error:
        raise DatasetError(f"{path} is not readable XML ({error}): download it again") from error


class _DeclarationError(Exception):
    """The document has a document type declaration."""


def _refuse(name: str, system_id: str | None, public_id: str | None, has_subset: bool) -> None:
    raise _DeclarationError(name)
