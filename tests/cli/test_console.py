"""A stranger's text cannot command the terminal, and JSON holds no NaN."""

import json

import pytest

from rsvl.cli.console import print_error, print_json, print_line, print_note, print_table


@pytest.mark.parametrize("text", ["\x1b[2J\x1b]0;title\x07", "a\rb", "\x9b31m", "\u202egnp.exe", "\x7f"])
def test_control_characters_are_shown_as_codes(capsys: pytest.CaptureFixture[str], text: str) -> None:
    print_error(text)
    print_note(text)
    print_line(text)
    print_table(["a"], [[text]], title=text)
    shown = "".join(capsys.readouterr())
    assert not set(shown) & set("\x1b\x07\r\x9b\u202e\x7f") and "\\" in shown


def test_other_languages_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_line("白色的建筑 das Gebäude 👩‍🚀")
    assert capsys.readouterr().out == "白色的建筑 das Gebäude 👩‍🚀\n"


def test_what_is_not_finite_is_null_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": [float("nan"), {"b": float("inf")}], "c": 1.5})
    assert json.loads(capsys.readouterr().out) == {"a": [None, {"b": None}], "c": 1.5}
