"""Rounds of corrections: the files of a project that one changed, as they were before, so that it can be undone."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from etpick.errors import InputError
from etpick.io.atomic import atomic_write

FOLDER: Final = "corrections"
_ROUND: Final = "round.json"


@dataclass(frozen=True)
class Round:
    """A round that can be undone: its folder, what it did in words, and when."""

    folder: Path
    what: str
    when: str


def write_round(root: Path, what: str, texts: Mapping[Path, str]) -> Round:
    """Write the files of a round, keeping what they held in ROOT/corrections/NUMBER. Raises OutputError.

    Paths lie under the project's folder `root`. The old content is kept before anything is changed.
    """
    folder = root / FOLDER / f"{1 + max(_numbers(root), default=0):04d}"
    entries = []
    for number, (path, text) in enumerate(texts.items()):
        kept = f"{number}-{path.name}" if path.exists() else None
        if kept:
            with atomic_write(folder / kept) as temporary:
                shutil.copyfile(path, temporary)
        entries.append({"file": path.relative_to(root).as_posix(), "before": kept, "after": _hash(text.encode())})
    when = datetime.now(UTC).isoformat(timespec="seconds")
    with atomic_write(folder / _ROUND) as temporary:
        temporary.write_text(json.dumps({"what": what, "when": when, "files": entries}, indent=1) + "\n")
    for path, text in texts.items():
        with atomic_write(path, overwrite=True) as temporary:
            temporary.write_bytes(text.encode())
    return Round(folder, what, when)


def last_round(root: Path) -> Round | None:
    """The round that `undo_round` would undo."""
    numbers = _numbers(root)
    if not numbers:
        return None
    folder = root / FOLDER / f"{max(numbers):04d}"
    content = json.loads((folder / _ROUND).read_text(encoding="utf-8"))
    return Round(folder, content["what"], content["when"])


def undo_round(root: Path) -> Round:
    """Put the files of the last round back as they were before it.

    Raises InputError, before anything is changed, where there is none, or where one of them was changed since.
    """
    undone = last_round(root)
    if undone is None:
        raise InputError(f"no correction to undo in {root / FOLDER}")
    entries = json.loads((undone.folder / _ROUND).read_text(encoding="utf-8"))["files"]
    for entry in entries:
        path = root / entry["file"]
        if not path.exists() or _hash(path.read_bytes()) not in (entry["after"], _before(undone.folder, entry)):
            raise InputError(
                f"{path} was changed after the correction, and undoing would lose that; what it held before is in "
                f"{undone.folder}"
            )
    for entry in entries:
        path = root / entry["file"]
        if entry["before"] is None:
            path.unlink()
            continue
        with atomic_write(path, overwrite=True) as temporary:
            shutil.copyfile(undone.folder / entry["before"], temporary)
    shutil.rmtree(undone.folder)
    return undone


def _before(folder: Path, entry: Mapping[str, str | None]) -> str:
    """What the file held before, by its hash; a round that was cut short has left it so."""
    return _hash((folder / entry["before"]).read_bytes()) if entry["before"] else ""


def _numbers(root: Path) -> list[int]:
    return [int(p.parent.name) for p in (root / FOLDER).glob(f"*/{_ROUND}") if p.parent.name.isdecimal()]


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
