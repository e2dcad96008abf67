import ctypes
import sys

import pytest

from etpick.engine import keeping_memory


class Libc:
    """Notes what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def mallopt(self, what: int, value: int) -> None:
        self.asked.append(f"{what} {value}")

    def malloc_trim(self, pad: int) -> None:
        self.asked.append("trim")


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_memory_is_given_back_when_the_outermost_no_longer_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    libc = Libc()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: libc)
    with keeping_memory():
        with keeping_memory():
            pass
        assert "trim" not in libc.asked
    assert libc.asked[-1] == "trim"
    libc.asked.clear()
    with pytest.raises(KeyError), keeping_memory():
        raise KeyError
    assert libc.asked[-1] == "trim"
