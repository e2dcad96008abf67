"""What a training picks in its validation volume, as one picture to look at while it runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from etpick.io.atomic import atomic_write
from etpick.progress import Validated
from etpick.report.marks import busiest_slices, mark
from etpick.report.slices import draw_marks
from etpick.types import Box, Tomogram

_DPI: Final = 110


def write_validation(validated: Validated, path: Path) -> None:
    """Draw the slice that cuts most labels in the validation volume with most: picks right and wrong, missed labels.

    The slice is the same at each validation. Replaces the picture that stands there. Only a few slices are read.
    """
    most = int(np.argmax([len(truth) for truth in validated.truths]))
    volume, picks, truth = validated.volumes[most], validated.picks[most], validated.truths[most]
    marks = mark(picks, truth, validated.classes, validated.spacing_A)
    z = busiest_slices(mark(truth, None, validated.classes, validated.spacing_A), volume.shape[0], 1)[0]
    half = max(1, round(min(c.diameter_A for c in validated.classes) / validated.spacing_A / 6))
    low, high = max(z - half, 0), min(z + half + 1, volume.shape[0])
    data = volume.read(Box((low, 0, 0), (high, *volume.shape[1:])))
    moved = replace(marks, positions=marks.positions - (low, 0, 0))
    figure = draw_marks(Tomogram(data, validated.spacing_A), moved, validated.classes, [z - low])
    with atomic_write(path, overwrite=True) as temporary:
        figure.savefig(temporary, dpi=_DPI, transparent=True)
