"""A gallery of subtomograms: three central slices each, best score first, to be looked through in seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from etpick import __version__
from etpick.report import embed
from etpick.report.page import Cell, Number, Picture, Report, Section, Table
from etpick.types import FloatArray

Pixels = NDArray[np.float32]

_THICKNESS: Final = 1 / 10  # of the box, averaged into a slice: a single plane is mostly noise
_BLUR: Final = 1 / 40  # of the box: σ of the Gaussian that makes a particle stand out from its noise
_CONTRAST_PERCENTILES: Final = (0.5, 99.5)
_THIRDS: Final = ("best third", "middle third", "last third")
_LEAST_FOR_THIRDS: Final = 12
_GAP_PX: Final = 1


@dataclass(frozen=True, eq=False)
class Shown:
    """The subtomograms of a gallery, row by row. scores: (n,) or None; read(row) gives the box [z, y, x]."""

    classes: NDArray[np.str_]
    tomograms: NDArray[np.str_]
    scores: FloatArray | None
    numbers: NDArray[np.int64]
    read: Callable[[int], NDArray[np.float32]]


def gallery_report(shown: Shown, most: int, facts: dict[str, str], notes: Sequence[str] = ()) -> Report:
    """A section for each class, with `most` of its particles where there are more, evenly from best to last."""
    names = sorted(set(shown.classes.tolist()))
    sections = [_section(shown, name, most) for name in names]
    rows = tuple((Cell(name), Cell(value)) for name, value in ({"etpick": __version__} | facts).items())
    made = Section("How they were cut", tables=(Table((), rows, numeric=False),))
    order = "best score first" if shown.scores is not None else "in the order of the picks, which have no scores"
    lead = (
        "Each tile shows a particle in three planes through its centre, a little smoothed: xy, xz, yz; the second "
        f"letter of each points up. {order[0].upper()}{order[1:]}."
    )
    counts = tuple(Number(name, str(int((shown.classes == name).sum()))) for name in names)
    return Report("Subtomograms", lead, counts, tuple(notes), (*sections, made))


def _section(shown: Shown, name: str, most: int) -> Section:
    rows = ranked(shown, name)
    ranks = evenly(len(rows), most)
    slices = [central_slices(shown.read(int(rows[rank]))) for rank in ranks]
    low, high = np.nanpercentile(np.concatenate([s.reshape(-1) for s in slices]), _CONTRAST_PERCENTILES)
    tiles = [
        Picture(embed.grey(_stretched(picture, low, high), _alt(shown, name, row)), _caption(shown, rank, row))
        for picture, rank, row in zip(slices, ranks, rows[ranks], strict=True)
    ]
    text = [] if len(ranks) == len(rows) else [f"{len(ranks)} of {len(rows)} are shown, evenly from first to last."]
    means = _means(slices, shown.scores is not None)
    if means:
        text.append(
            "The means at the top are of particles as they lie, not turned: a blob of the particle's size in all three "
            "says that the centres are right; a third without one holds mostly wrong picks."
        )
    return Section(name, tuple(text), pictures=(*means, *tiles), dense=True)


def ranked(shown: Shown, name: str) -> NDArray[np.intp]:
    """Rows of a class, best score first, unknown scores last."""
    rows = np.flatnonzero(shown.classes == name)
    if shown.scores is None:
        return rows
    return rows[np.argsort(-shown.scores[rows], kind="stable")]


def evenly(count: int, most: int) -> NDArray[np.intp]:
    """At most `most` of 0 … count − 1, evenly, the first and the last among them."""
    if count <= most:
        return np.arange(count)
    return np.unique(np.rint(np.linspace(0, count - 1, most)).astype(np.intp))


def central_slices(box: NDArray[np.float32]) -> Pixels:
    """xy, xz and yz side by side, each the mean over a tenth of the box about its middle voxel, smoothed; up is up."""
    from scipy.ndimage import gaussian_filter

    n = box.shape[0]
    half = max(1, round(n * _THICKNESS / 2))
    thick = slice(n // 2 - half, n // 2 + half + 1)
    planes = (box[thick].mean(axis=0), box[:, thick].mean(axis=1), box[:, :, thick].mean(axis=2))
    gap = np.full((n, _GAP_PX), np.nan, dtype=np.float32)
    xy, xz, yz = (gaussian_filter(plane[::-1], n * _BLUR) for plane in planes)
    return np.concatenate([xy, gap, xz, gap, yz], axis=1)


def _means(slices: Sequence[Pixels], scored: bool) -> list[Picture]:
    """The mean of the best, the middle and the last third, where scores order enough boxes of one size."""
    if not scored or len(slices) < _LEAST_FOR_THIRDS or len({s.shape for s in slices}) > 1:
        return []
    means = [third.mean(axis=0) for third in np.array_split(np.stack(slices), 3)]
    low, high = np.nanpercentile(means, _CONTRAST_PERCENTILES)
    return [
        Picture(embed.grey(_stretched(mean, low, high), f"mean of the {third}"), f"mean of the {third}")
        for mean, third in zip(means, _THIRDS, strict=True)
    ]


def _stretched(picture: Pixels, low: float, high: float) -> NDArray[np.uint8]:
    levels = np.clip((picture - low) / max(float(high - low), 1e-12), 0, 1)
    return np.asarray(np.rint(255 * np.nan_to_num(levels, nan=1.0)), dtype=np.uint8)


def _caption(shown: Shown, rank: int, row: int) -> str:
    score = "" if shown.scores is None or np.isnan(shown.scores[row]) else f"{shown.scores[row]:.2f} · "
    return f"{rank + 1} · {score}{shown.tomograms[row]} {shown.numbers[row]}"


def _alt(shown: Shown, name: str, row: int) -> str:
    return f"{name} {shown.numbers[row]} of {shown.tomograms[row]}"
