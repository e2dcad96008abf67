"""Files read before they are wanted, so that slow storage works while the processor or the card does."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Final

import psutil

_BLOCK_BYTES: Final = 1 << 24
_MEMORY_SHARE: Final = 0.25  # of what is free


def read_ahead(path: Path) -> Thread:
    """Read a file in the background, so that the system holds it in memory when it is opened; returns who reads.

    Folders (OME-Zarr) are not read, nor what would not fit into a quarter of the free memory.
    """
    thread = Thread(target=_read, args=(path,), name=f"reads {path.name}", daemon=True)
    thread.start()
    return thread


def _read(path: Path) -> None:
    with suppress(OSError):  # whoever opens the file says what is wrong with it
        if path.is_file() and path.stat().st_size < _MEMORY_SHARE * psutil.virtual_memory().available:
            block = bytearray(_BLOCK_BYTES)
            with path.open("rb", buffering=0) as file:
                while file.readinto(block):
                    pass
