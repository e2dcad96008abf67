"""The folder of a long run: what was asked for, which parts are done, what may be replaced."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from etpick.errors import OutputError
from etpick.io.atomic import atomic_write, make_folder
from etpick.io.subtomograms import remove_unfinished

Kind = Literal["extraction", "assessment", "crosscheck"]


class RunFolder:
    """Remembers in KIND.json how far a run has come, so that it can be stopped and go on."""

    def __init__(
        self, folder: Path, kind: Kind, request: Mapping[str, Any], done: Sequence[str] = (), finished: bool = False
    ) -> None:  # fmt: skip
        self.folder, self.kind, self.request = folder, kind, dict(request)
        self.done, self.finished = list(done), finished

    def mark(self, part: str) -> None:
        """A part, such as a tomogram, is all written."""
        self.done.append(part)
        self._save()

    def finish(self) -> None:
        """Everything is written."""
        self.finished = True
        self._save()

    def _save(self) -> None:
        content = {"finished": self.finished, "done": self.done, "request": self.request}
        with atomic_write(self.folder / state_file(self.kind), overwrite=True) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def state_file(kind: Kind) -> str:
    """Where a run remembers how far it has come."""
    return f"{kind}.json"


def _one(kind: Kind) -> str:
    return f"{'an' if kind[0] in 'ae' else 'a'} {kind}"


def open_folder(
    folder: Path, kind: Kind, request: Mapping[str, Any], targets: Sequence[str], *, resume: bool, overwrite: bool
) -> RunFolder:
    """Begin a run in a folder, or go on with it.

    `targets` are the names of all that such runs write there. Raises OutputError where something would be
    lost: a run that is there and neither goes on nor may be replaced; one begun with another request;
    files of such names that no run made.
    """
    make_folder(folder)
    state = state_file(kind)
    stored = _stored(folder / state)
    if stored is None:
        there = [name for name in targets if (folder / name).exists()]
        if there:
            raise OutputError(
                f"{folder / there[0]} exists and no {state} beside it says that {_one(kind)} made it: "
                "choose another folder with --out"
            )
    elif resume:
        return _go_on(folder, kind, request, stored)
    elif not overwrite:
        what = _one(kind) if stored.get("finished") else f"an unfinished {kind}"
        raise OutputError(
            f"{folder} holds {what}: choose another folder with --out, go on with --resume, or replace it with "
            "--overwrite"
        )
    else:
        _clear(folder, targets)
        (folder / state).unlink()
    started = RunFolder(folder, kind, json.loads(json.dumps(request)))
    started._save()
    return started


def _stored(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {"request": dict(content["request"]), "done": list(content["done"]), "finished": content["finished"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{path} cannot be read ({error!r}): choose another folder with --out") from error


def _go_on(folder: Path, kind: Kind, request: Mapping[str, Any], stored: Mapping[str, Any]) -> RunFolder:
    now, then = json.loads(json.dumps(request)), stored["request"]
    differing = [name for name in now | then if now.get(name) != then.get(name)]
    if differing:
        name = differing[0]
        raise OutputError(
            f"the {kind} in {folder} was begun with {name} = {then.get(name)}, not {now.get(name)}: give the same "
            "options, or begin anew with --overwrite"
        )
    return RunFolder(folder, kind, now, stored["done"], stored["finished"])


def _clear(folder: Path, targets: Sequence[str]) -> None:
    for name in targets:
        path = folder / name
        remove_unfinished(path)
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
