import sys
from pathlib import Path

import psutil
import pytest

from etpick.io import read_ahead as module
from etpick.io.read_ahead import read_ahead

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts the characters that are read")

SIZE = 3 * 2**24 + 5


def characters_read(path: Path) -> int:
    """By this process, while the file is read ahead."""
    before = psutil.Process().io_counters().read_chars
    read_ahead(path).join()
    return psutil.Process().io_counters().read_chars - before


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "t.mrc"
    path.write_bytes(bytes(SIZE))
    return path


def test_a_file_is_read_to_its_end(file: Path) -> None:
    assert SIZE <= characters_read(file) < SIZE + 2**20


def test_what_would_not_fit_into_memory_is_left(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MEMORY_SHARE", 0)
    assert characters_read(file) < 2**20


def test_what_cannot_be_read_is_left_to_whoever_opens_it(tmp_path: Path) -> None:
    read_ahead(tmp_path).join()
    assert characters_read(tmp_path / "missing.mrc") < 2**20
