"""What a stopped training goes on from, as named tensors, and when it may."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from etpick.checkpoint import DESCRIPTION, STATE
from etpick.data import Source
from etpick.errors import OutputError, TrainingError
from etpick.learner import Learner

_PLACES: Final = ("doubtful", "doubtful_labels")  # what training adds to a source


def pack(learner: Learner, sources: Sequence[Source], references: Sequence[Tensor]) -> dict[str, Tensor]:
    """Weights, averaged weights, the optimiser's moments, the sources' doubtful places, and the classes' averages."""
    tensors = {f"network/{k}": v for k, v in learner.network.state_dict().items()}
    tensors |= {f"average/{k}": v for k, v in learner.average.items()}
    tensors |= {f"optimiser/{k}": v for k, v in learner.optimiser.state().items()}
    for number, source in enumerate(sources):
        tensors |= {f"places/{number}/{k}": torch.from_numpy(getattr(source, k)) for k in _PLACES}
    tensors |= {f"averages/{n}": reference for n, reference in enumerate(references)}
    return {name: value.detach().cpu().clone() for name, value in tensors.items()}  # safetensors wants nothing shared


def unpack(tensors: Mapping[str, Tensor], learner: Learner, sources: Sequence[Source]) -> list[Source]:
    """Put what `pack` made back into the learner; returns the sources."""
    learner.network.load_state_dict(_part(tensors, "network/"))
    for name, value in _part(tensors, "average/").items():
        learner.average[name].copy_(value)
    learner.optimiser.load(_part(tensors, "optimiser/"))
    return [_with_places(s, _part(tensors, f"places/{n}/")) for n, s in enumerate(sources)]


def references_of(tensors: Mapping[str, Tensor]) -> list[Tensor]:
    """The classes' averages that `pack` was given."""
    found = _part(tensors, "averages/")
    return [found[str(number)] for number in range(len(found))]


def check_folder(folder: Path | None, resume: bool, overwrite: bool) -> None:
    """Raise TrainingError where there is nothing to resume, OutputError where a training would replace another."""
    if folder is None:
        if resume:
            raise TrainingError("there is nothing to resume without a model folder")
        return
    unfinished, finished = (folder / STATE).exists(), (folder / DESCRIPTION).exists()
    if resume and not unfinished:
        state = "its training is finished" if finished else "no training was started there"
        raise TrainingError(f"there is nothing to resume in {folder}: {state}")
    if resume or overwrite:
        return
    if unfinished:
        raise OutputError(f"{folder} holds an unfinished training: go on with --resume, or start anew with --overwrite")
    if finished:
        raise OutputError(f"{folder} holds a model: choose another folder, or replace it with --overwrite")


def refuse_changed(what: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise TrainingError where a training would go on with other options or data than it began with."""
    changed = [name for name in now if before.get(name) != now[name]]
    if changed:
        differences = "; ".join(f"{n} was {before.get(n)!r}, is {now[n]!r}" for n in changed)
        raise TrainingError(
            f"cannot resume with changed {what}: {differences}. Restore it, or start anew with --overwrite"
        )


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _with_places(source: Source, places: Mapping[str, Tensor]) -> Source:
    found: dict[str, Any] = {name: places[name].numpy() for name in _PLACES}
    return replace(source, **found)
