"""Reads a stranger's XML without following anything in it: elements, attributes and text only.

A document type declaration can define entities that grow to gigabytes or name files to read. What rsvl reads needs
none, so a text that has one is refused before any entity is known.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat


class DeclarationError(ValueError):
    """The text has a document type declaration."""


def parse(data: bytes) -> Element:
    """The tree of an XML text.

    Raises:
        DeclarationError: it has a document type declaration.
        ValueError: it is not well-formed.
    """
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(data, True)
        return builder.close()
    except (expat.ExpatError, AssertionError, LookupError) as error:
        raise ValueError(str(error)) from error


def _refuse(name: str, system_id: str | None, public_id: str | None, has_subset: bool) -> None:
    raise DeclarationError("it declares a document type")
