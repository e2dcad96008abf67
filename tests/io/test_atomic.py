import errno
import os
from pathlib import Path

import pytest

from etpick.errors import OutputError
from etpick.io.atomic import atomic_write


def test_writes_all_or_nothing(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.csv"
    with atomic_write(target) as temporary:
        temporary.write_text("half")
        assert temporary.suffix == ".csv" and temporary.parent == target.parent
        assert not target.exists()
    assert target.read_text() == "half"
    assert list(target.parent.iterdir()) == [target]


def test_failure_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(target, overwrite=True) as temporary:
        temporary.write_text("new")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_does_not_overwrite_unasked(tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    target.write_text("old")
    with pytest.raises(OutputError, match="exists: add --overwrite"), atomic_write(target):
        pytest.fail("the body must not run")
    with atomic_write(target, overwrite=True) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    with pytest.raises(OutputError, match="exists"), atomic_write(target) as temporary:
        temporary.write_text("ours")
        target.write_text("theirs")
    assert target.read_text() == "theirs"


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a folder"), atomic_write(tmp_path, overwrite=True):
        pass


def test_disk_full_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    sentence = r"could not write .*a\.csv: No space left on device"
    with pytest.raises(OutputError, match=sentence), atomic_write(tmp_path / "a.csv") as temporary:
        temporary.write_text("x")
    assert list(tmp_path.iterdir()) == []


def test_an_error_while_writing_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No space left on device"), atomic_write(tmp_path / "a.mrc"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
