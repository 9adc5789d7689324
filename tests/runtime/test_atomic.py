"""A file is replaced whole or stays as it was."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rsvl.runtime.atomic import replacing, write_text
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


def test_planted_link_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "victim").write_text("precious")
    monkeypatch.setattr("secrets.token_hex", lambda _: "guessed")
    (tmp_path / ".a.guessed.tmp.txt").symlink_to(tmp_path / "victim")
    with pytest.raises(OutputError), replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "victim").read_text() == "precious"


def test_threads_that_write_one_path_do_not_meet(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: write_text(tmp_path / "a.txt", str(n) * 1000), range(64)))
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert len(set((tmp_path / "a.txt").read_text())) <= 2


def test_new_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "new")
    (tmp_path / "b.txt").write_text("new")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode
