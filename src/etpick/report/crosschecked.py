"""The report on a project checked against its own labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from etpick import __version__
from etpick.crosschecking import Crosscheck
from etpick.evaluation.plausibility import Plausibility
from etpick.report import embed
from etpick.report.charts import ACCENT, INK, chart
from etpick.report.page import Cell, Number, Picture, Report, Section, Table
from etpick.report.sections import share

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_TOMOGRAMS = 6
_FARTHEST = 5.0  # diameters


def crosscheck_report(found: Crosscheck) -> Report:
    """Hidden labels found again, agreement of two models, and whether picks lie as particles can."""
    hidden = sum(r.hidden for r in found.recall.values())
    again = sum(r.found for r in found.recall.values())
    numbers = [Number("hidden labels found", share(again / hidden), f"{again} of {hidden}")]
    if found.agreement:
        shared = sum(a.shared for a in found.agreement.values())
        either = sum(a.one + a.other - a.shared for a in found.agreement.values())
        numbers.append(Number("agreement", share(shared / either if either else 0.0), "of models of half the labels"))
    remarks = [
        f"{tomogram}, {name}: {remark}"
        for tomogram, by_class in found.plausible.items()
        for name, p in by_class.items()
        for remark in p.remarks()
    ]
    sections = [_recall(found), *([_agreement(found)] if found.agreement else []), _plausible(found)]
    sections.append(Section("Made by", tables=(Table((), ((Cell("etpick"), Cell(__version__)),), numeric=False),)))
    lead = "How far the picks can be trusted, by the project's own labels alone: no other picks, and no truth."
    return Report("Crosscheck", lead, tuple(numbers), (*found.notes, *remarks), tuple(sections))


def _recall(found: Crosscheck) -> Section:
    rows = tuple(
        (
            Cell(name), Cell(str(r.hidden)), Cell(str(r.found)), Cell(share(r.share)),
            Cell(f"{share(r.interval[0])}–{share(r.interval[1])}"), Cell(share(r.by_chance)),
        )
        for name, r in found.recall.items()
    )  # fmt: skip
    head = ("", "hidden", "found again", "recall", "95 %", "by chance")
    text = (
        "These labels were hidden from a model, which then picked the same tomograms. A label counts as found where a "
        "pick of any class lies within the particle's radius; by chance: as many picks at random places."
    )
    return Section("Hidden labels", (text,), tables=(Table(head, rows),))


def _agreement(found: Crosscheck) -> Section:
    rows = tuple(
        (
            Cell(name),
            Cell(str(a.one)),
            Cell(str(a.other)),
            Cell(str(a.shared)),
            Cell(share(a.jaccard)),
            Cell(share(a.by_chance)),
        )
        for name, a in found.agreement.items()
    )
    head = ("", "picks of one", "picks of the other", "shared", "of all places", "by chance")
    text = (
        "Two models, each of half of the labels that the other did not see. Where they agree, picks do not hang on "
        "which particles were marked; what both get wrong in the same way this cannot show."
    )
    return Section("Two half-trained models", (text,), tables=(Table(head, rows),))


def _plausible(found: Crosscheck) -> Section:
    rows = tuple(
        (Cell(f"{tomogram}, {name}"), Cell(str(p.count)), Cell(str(p.overlapping)), Cell(" ".join(map(str, p.slabs))))
        for tomogram, by_class in found.plausible.items()
        for name, p in by_class.items()
    )
    pictures = tuple(
        Picture(embed.svg(_draw_slabs(by_class), f"picks by height in {tomogram}"), f"{tomogram}, picks by height")
        for tomogram, by_class in list(found.plausible.items())[:_MOST_TOMOGRAMS]
    )
    every = np.concatenate([p.nearest for by in found.plausible.values() for p in by.values()])
    near = (Picture(embed.svg(_draw_nearest(every), "distances to the nearest pick"), "nearest neighbours, all picks"),)
    head = ("", "picks", "closer than 0.9 diameters", "from low z to high")
    text = "Picks of the model from which labels were hidden. Two particles cannot lie closer than they are wide."
    return Section("Do they lie as particles can?", (text,), (), near + pictures, (Table(head, rows),))


def _draw_slabs(by_class: Mapping[str, Plausibility]) -> Figure:
    figure, axes = chart(3.3, 2.4)
    total = np.sum([p.slabs for p in by_class.values()], axis=0)
    axes.bar(np.arange(len(total)) + 0.5, total, width=0.9, color=ACCENT, alpha=0.85)
    axes.set(xlabel="tenths of the height, low z to high", ylabel="picks")
    return figure


def _draw_nearest(nearest: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Figure:
    figure, axes = chart(3.3, 2.4)
    axes.hist(nearest[np.isfinite(nearest)].clip(0, _FARTHEST), 40, range=(0, _FARTHEST), color=ACCENT, alpha=0.85)
    axes.axvline(1, color=INK, linewidth=1.4, linestyle=(0, (4, 2)))
    axes.set(xlabel="distance to the nearest (diameters)", ylabel="picks")
    return figure
