"""XML of strangers: the tree as the standard library's own parser reads it, and nothing followed or expanded."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from rsvl.data.plain_xml import MAX_BYTES, read_xml
from rsvl.runtime.errors import DatasetError

PLAIN = '<?xml version="1.0" encoding="UTF-8"?>\n<a x="1"><b>ship &amp; pier</b><!-- note --><b/>Größe<![CDATA[<]]></a>'


def test_plain_tree_is_the_standard_parsers(tmp_path: Path) -> None:
    path = tmp_path / "plain.xml"
    path.write_text(PLAIN, encoding="utf-8")
    assert ElementTree.tostring(read_xml(path)) == ElementTree.tostring(ElementTree.fromstring(PLAIN.encode()))


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f'<!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]><a>&l9;</a>', "declares a document type"),
        ('<!DOCTYPE a [<!ENTITY file SYSTEM "file:///etc/passwd">]><a>&file;</a>', "declares a document type"),
        ('<!DOCTYPE a SYSTEM "http://localhost/a.dtd"><a/>', "declares a document type"),
        ("<a>&undefined;</a>", "not readable XML"),
        ("<a><b></a>", "not readable XML"),
        ("", "not readable XML"),
        ("\0" * 20, "not readable XML"),
        ('<?xml version="1.0" encoding="klingon"?><a/>', "not readable XML"),
    ],
    ids=["laughs", "external entity", "external dtd", "undefined", "open", "empty", "binary", "encoding"],
)
def test_hostile_or_damaged_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.xml"
    path.write_text(text)
    with pytest.raises(DatasetError, match=message) as error:
        read_xml(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_missing_and_oversized_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read"):
        read_xml(tmp_path / "absent.xml")
    with (tmp_path / "large.xml").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(DatasetError, match="more than the 16 MiB"):
        read_xml(tmp_path / "large.xml")
