import errno
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import save_file

from etpick.errors import OutputError
from etpick.io.atomic import atomic_write, make_folder


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


def test_an_error_of_safetensors_is_one_of_the_disk(tmp_path: Path) -> None:
    sentence = r"could not write .*a\.safetensors: .*No space left on device.*choose another place"
    with pytest.raises(OutputError, match=sentence), atomic_write(tmp_path / "a.safetensors"):
        raise SafetensorError("I/O error: No space left on device (os error 28)")


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_weights_that_do_not_fit_on_the_disk(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"could not write .*a\.safetensors: .*too large"),
        atomic_write(tmp_path / "a.safetensors") as temporary,
        file_size_limit(1000),
    ):
        save_file({"w": np.zeros(10000)}, temporary)
    assert list(tmp_path.iterdir()) == []


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), atomic_write(tmp_path / "a.csv"):
        raise ZeroDivisionError


def test_importing_it_does_not_import_safetensors() -> None:
    code = "import sys, etpick.io.atomic; print('safetensors' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_are_the_usual_ones_whatever_the_writer_sets(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with atomic_write(tmp_path / "a.safetensors") as temporary:
            save_file({"w": np.zeros(3)}, temporary)
            temporary.chmod(0o600)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.safetensors").stat().st_mode) == 0o666 & ~umask


def test_a_clean_up_that_fails_does_not_hide_the_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for target in (tmp_path / "file" / "a.csv", tmp_path / "file" / "sub" / "a.csv"):
        sentence = r"(is a file, not a folder|Not a directory).*choose another place"
        with pytest.raises(OutputError, match=sentence), atomic_write(target):
            pytest.fail("the body must not run")


def test_a_name_too_long_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="File name too long"), atomic_write(tmp_path / ("a" * 300)):
        pytest.fail("the body must not run")


def test_make_folder_makes_parents_and_leaves_nothing_in_them(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert make_folder(folder) == folder == make_folder(str(folder))
    assert folder.is_dir() and list(folder.iterdir()) == []


def test_make_folder_says_what_stands_in_the_way(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(OutputError, match=r"file is a file, not a folder: choose another place"):
        make_folder(file)
    with pytest.raises(OutputError, match=r"cannot write into the folder .*sub: Not a directory; choose"):
        make_folder(file / "sub")


@pytest.mark.skipif(
    not Path("/proc/self").is_dir(), reason="a folder that nobody can write into is found on Linux only"
)
def test_make_folder_refuses_a_folder_that_takes_no_files() -> None:
    with pytest.raises(OutputError, match="cannot write into the folder /proc/self"):
        make_folder("/proc/self")
