"""Reads a stranger's XML without following anything in it: elements, attributes and text only."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element

from rsvl.runtime import plain_xml
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
    try:
        return plain_xml.parse(data)
    except plain_xml.DeclarationError:
        raise DatasetError(
            f"{path} declares a document type, which annotations never need: refusing it; remove the <!DOCTYPE …>"
        ) from None
    except ValueError as error:
        raise DatasetError(f"{path} is not readable XML ({error}): download it again") from error
