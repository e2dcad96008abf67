"""The folder of an extraction: what was asked for, which tomograms are done, what may be replaced."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from etpick.errors import OutputError
from etpick.io.atomic import atomic_write, make_folder
from etpick.io.subtomograms import remove_unfinished

STATE: Final = "extraction.json"


class ExtractionFolder:
    """Remembers in extraction.json how far an extraction has come, so that it can be stopped and go on."""

    def __init__(self, folder: Path, request: Mapping[str, Any], done: Sequence[str] = (), finished: bool = False):
        self.folder, self.request, self.done, self.finished = folder, dict(request), list(done), finished

    def mark(self, tomogram: str) -> None:
        """A tomogram's subtomograms are all written."""
        self.done.append(tomogram)
        self._save()

    def finish(self) -> None:
        """Everything is written."""
        self.finished = True
        self._save()

    def _save(self) -> None:
        content = {"finished": self.finished, "done": self.done, "request": self.request}
        with atomic_write(self.folder / STATE, overwrite=True) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def open_folder(
    folder: Path, request: Mapping[str, Any], targets: Sequence[str], *, resume: bool, overwrite: bool
) -> ExtractionFolder:
    """Begin an extraction in a folder, or go on with it.

    `targets` are the names of all that extractions write there. Raises OutputError where something would be
    lost: an extraction that is there and neither goes on nor may be replaced; one begun with another request;
    files of such names that no extraction made.
    """
    make_folder(folder)
    stored = _stored(folder)
    if stored is None:
        there = [name for name in targets if (folder / name).exists()]
        if there:
            raise OutputError(
                f"{folder / there[0]} exists and no {STATE} beside it says that an extraction made it: "
                "choose another folder with --out"
            )
    elif resume:
        return _go_on(folder, request, stored)
    elif not overwrite:
        raise OutputError(
            f"{folder} holds {'an' if stored.get('finished') else 'an unfinished'} extraction: choose another folder "
            "with --out, go on with --resume, or replace it with --overwrite"
        )
    else:
        _clear(folder, targets)
    started = ExtractionFolder(folder, json.loads(json.dumps(request)))
    started._save()
    return started


def _stored(folder: Path) -> dict[str, Any] | None:
    path = folder / STATE
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {"request": dict(content["request"]), "done": list(content["done"]), "finished": content["finished"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{path} cannot be read ({error!r}): choose another folder with --out") from error


def _go_on(folder: Path, request: Mapping[str, Any], stored: Mapping[str, Any]) -> ExtractionFolder:
    now, then = json.loads(json.dumps(request)), stored["request"]
    differing = [name for name in now | then if now.get(name) != then.get(name)]
    if differing:
        name = differing[0]
        raise OutputError(
            f"the extraction in {folder} was begun with {name} = {then.get(name)}, not {now.get(name)}: give the same "
            "options, or begin anew with --overwrite"
        )
    return ExtractionFolder(folder, now, stored["done"], stored["finished"])


def _clear(folder: Path, targets: Sequence[str]) -> None:
    for name in targets:
        path = folder / name
        remove_unfinished(path)
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    (folder / STATE).unlink()
