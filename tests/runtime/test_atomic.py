"""A file is replaced whole or stays as it was."""

from pathlib import Path

import pytest

from rsvl.runtime.atomic import replacing
from rsvl.runtime.errors import OutputError


def test_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
        assert not (tmp_path / "a.txt").exists() and temporary.suffix == ".txt"
    assert (tmp_path / "a.txt").read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(("error", "raised"), [(ValueError("x"), ValueError), (OSError(28, "full"), OutputError)])
def test_failed_block_leaves_the_old_file(tmp_path: Path, error: Exception, raised: type[Exception]) -> None:
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(raised), replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise error
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def test_missing_folder_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="nowhere"), replacing(tmp_path / "nowhere" / "a.txt") as temporary:
        temporary.write_text("new")
