"""Write a file so that a reader sees either all of it or none."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from etpick.errors import OutputError


def refuse_existing(path: Path, overwrite: bool = False) -> None:
    """Raise OutputError where writing `path` would replace something; ask before hours of work, too."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder: give the name of a file to write")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists: add --overwrite to replace it, or choose another name")


@contextmanager
def atomic_write(path: Path | str, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it on success, remove it on failure.

    The temporary name ends like `path`, because several writers choose the format by the suffix. The
    parent folder is made where it is missing.

    Raises OutputError when `path` exists and `overwrite` is false, and when the disk refuses (full, no
    permission): whatever stood at `path` before is then untouched.
    """
    path = Path(path)
    refuse_existing(path, overwrite)
    temporary = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        refuse_existing(path, overwrite)
        os.replace(temporary, path)  # noqa: PTH105
    except OSError as error:
        raise OutputError(
            f"could not write {path}: {error.strerror or error}; free some space, or choose another place"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
