"""Write a file so that a reader sees either all of it or none."""

from __future__ import annotations

import os
import secrets
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from etpick.errors import OutputError


def refuse_existing(path: Path, overwrite: bool = False) -> None:
    """Raise OutputError where writing `path` would replace something; ask before hours of work, too."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder: give the name of a file to write")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists: add --overwrite to replace it, or choose another name")


def make_folder(path: Path | str) -> Path:
    """Make a folder and its parents where they are missing, and try that a file can be made in it.

    Raises OutputError where that fails; ask before hours of work.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except FileExistsError as error:
        raise OutputError(f"{path} is a file, not a folder: choose another place") from error
    except OSError as error:
        raise OutputError(f"cannot write into the folder {path}: {error.strerror}; choose another place") from error


@contextmanager
def atomic_write(path: Path | str, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it on success, remove it on failure.

    The temporary name ends like `path`, because several writers choose the format by the suffix. The
    parent folder is made where it is missing. The file gets the usual permissions, whatever its writer sets.

    Raises OutputError when `path` exists and `overwrite` is false, and when the disk refuses (full, no
    permission): whatever stood at `path` before is then untouched.
    """
    path = Path(path)
    temporary = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        refuse_existing(path, overwrite)
        make_folder(path.parent)
        mode = _usual_mode(temporary)
        yield temporary
        refuse_existing(path, overwrite)
        temporary.chmod(mode)
        os.replace(temporary, path)  # noqa: PTH105
    except _disk_errors() as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"could not write {path}: {reason}; free some space, or choose another place") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _usual_mode(path: Path) -> int:
    """Permissions of a new file at `path`; asking for the umask itself would change it for a moment."""
    path.touch()
    mode = stat.S_IMODE(path.stat().st_mode)
    path.unlink()  # some writers refuse a file that is there
    return mode


def _disk_errors() -> tuple[type[Exception], ...]:
    """OSError, and what safetensors raises instead of it, where that library is in use."""
    safetensors = sys.modules.get("safetensors")
    return (OSError,) if safetensors is None else (OSError, safetensors.SafetensorError)
