import json
from pathlib import Path

import pytest

from etpick.errors import OutputError
from etpick.io.run_folder import open_folder, state_file
from etpick.io.subtomograms import remove_unfinished

TARGETS = ("boxes", "table.star")
REQUEST = {"box": 16, "tilts": (1, 2)}
STATE = state_file("extraction")


def begin(folder: Path, **changes: object) -> object:
    options: dict[str, bool] = {"resume": False, "overwrite": False}
    flags = {name: bool(changes.pop(name)) for name in list(changes) if name in options}
    return open_folder(folder, "extraction", {"box": 16} | changes, TARGETS, **(options | flags))


def test_what_is_done_is_remembered(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "new", "extraction", REQUEST, TARGETS, resume=True, overwrite=False)
    folder.mark("t1")
    again = open_folder(tmp_path / "new", "extraction", REQUEST, TARGETS, resume=True, overwrite=False)
    assert again.done == ["t1"] and not again.finished
    again.finish()
    assert json.loads((tmp_path / "new" / STATE).read_text())["finished"]


def test_overwriting_clears_what_extractions_write_and_nothing_else(tmp_path: Path) -> None:
    begin(tmp_path)
    (tmp_path / "boxes").mkdir()
    (tmp_path / "boxes" / "old.mrc").touch()
    (tmp_path / "table.star.partial").touch()
    (tmp_path / "mine.txt").touch()
    begin(tmp_path, overwrite=True, box=18)
    assert sorted(path.name for path in tmp_path.iterdir()) == [STATE, "mine.txt"]


def test_a_damaged_state_is_no_leave_to_write(tmp_path: Path) -> None:
    (tmp_path / STATE).write_text('{"done": []}')
    for flag in ("resume", "overwrite"):
        with pytest.raises(OutputError, match=r"extraction\.json cannot be read"):
            begin(tmp_path, **{flag: True})
    assert (tmp_path / STATE).read_text() == '{"done": []}'


def test_leftovers_are_removed_whether_files_or_folders(tmp_path: Path) -> None:
    (tmp_path / "a.zarr.partial" / "c").mkdir(parents=True)
    remove_unfinished(tmp_path / "a.zarr")
    remove_unfinished(tmp_path / "a.zarr")
    assert not list(tmp_path.iterdir())
