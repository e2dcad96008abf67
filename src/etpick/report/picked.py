"""The report on picks that nobody has judged yet: what was found in one tomogram, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from etpick import __version__
from etpick.exclusion import Zones
from etpick.report import embed
from etpick.report.case import make_case
from etpick.report.marks import Marks, View, busiest_slices, mark, mark_left_out
from etpick.report.page import Cell, Key, Number, Picture, Report, Section, Table
from etpick.report.sections import NO_PICKS, provenance_section, scores_section
from etpick.report.shading import ZONE_COLORS
from etpick.report.slices import colors_of, draw_view
from etpick.types import ParticleClass, Particles, Shape3, Tomogram

if TYPE_CHECKING:
    from etpick.checkpoint import Model
    from etpick.picking import Found

_SLICES: Final = 3


def picking_report(
    tomogram: Tomogram, found: Found, model: Model, options: Mapping[str, str], threshold_note: str = ""
) -> Report:
    """A report on the picks of one tomogram; `options` are those of the picking that are not usual.

    `threshold_note` says how the thresholds were chosen; without it, what was found says so itself.
    """
    classes, thresholds = model.classes, _thresholds(found, model.classes)
    case = make_case([tomogram], [found.picks], [found.all], None, classes, None, thresholds)
    sections = (
        _pictures(tomogram, found, classes),
        _zones(found),
        _classes(found, classes),
        scores_section(case, threshold_note or found.how),
        _averages(found, classes),
        provenance_section(_provenance(tomogram, model, options)),
    )
    notes = tuple(note for note in (found.warning,) if note)
    return Report(tomogram.name, _lead(classes), _numbers(found), notes, tuple(s for s in sections if s is not None))


def _lead(classes: Sequence[ParticleClass]) -> str:
    what = ", ".join(f"{c.name} ({c.diameter_A / 10:g} nm)" for c in classes)
    return f"Looked for: {what}. Nobody has judged these picks yet: scores are the picker's own."


def _numbers(found: Found) -> tuple[Number, ...]:
    numbers = [Number("picks", str(len(found.picks)), f"of {len(found.all)} candidates")]
    if len(found.picks):
        numbers.append(Number("wrong picks to be expected", f"{found.expected_wrong:.0f}", "to judge by their scores"))
    if found.zones is not None and found.zones.asked:
        numbers.append(Number("left out", str(len(found.left_out)), "in zones where nothing is picked"))
    return tuple(numbers)


def _thresholds(found: Found, classes: Sequence[ParticleClass]) -> dict[str, float]:
    limits = {c.name: t for c, t in zip(classes, found.decision.thresholds, strict=True)}
    return {"every class": limits[classes[0].name]} if len(set(limits.values())) == 1 < len(limits) else limits


def _pictures(tomogram: Tomogram, found: Found, classes: Sequence[ParticleClass]) -> Section:
    marks = mark(found.picks, None, classes, tomogram.spacing_A)
    left_out = mark_left_out(found.left_out.particles, classes, tomogram.spacing_A)
    text = [] if len(found.picks) else [found.why_empty or NO_PICKS]
    text.append(
        "Each circle is a cut through a sphere of the particle's diameter, so it is largest where the plane passes "
        "through the centre. Slices are averaged over a few voxels; in xy, y points up, in side views z does."
    )
    every = marks + left_out
    pictures = [
        Picture(
            embed.png(
                draw_view(tomogram, every, classes, view, found.zones),
                f"{view.name} of {tomogram.name} with circles around picks",
            ),
            view.name,
        )
        for view in _views(marks, left_out, found.zones, tomogram.shape)
    ]
    return Section("Picks in the tomogram", tuple(text), _keys(found, classes), tuple(pictures))


def _views(marks: Marks, left_out: Marks, zones: Zones | None, shape: Shape3) -> list[View]:
    """The slices with most picks, one through what was left out, and two side views through that."""
    special = left_out if len(left_out) else _beads(zones)
    shown = special if len(special) else marks
    slices = set(busiest_slices(marks, shape[0], _SLICES - 1 if len(special) else _SLICES))
    slices |= set(busiest_slices(special, shape[0], 1)) if len(special) else set()
    side = [View(axis, busiest_slices(shown, shape[axis], 1, axis)[0]) for axis in (1, 2)]
    return [*(View(0, z) for z in sorted(slices)), *side]


def _beads(zones: Zones | None) -> Marks:
    if zones is None or zones.beads is None:
        return Marks(np.zeros((0, 3)), np.zeros(0), np.zeros(0, np.str_), np.zeros(0, np.str_))
    names = np.full(len(zones.beads), "gold")
    return Marks(zones.beads.centres, zones.beads.radii, names, names)


def _keys(found: Found, classes: Sequence[ParticleClass]) -> tuple[Key, ...]:
    keys = [Key(name, color) for name, color in colors_of(classes).items()]
    if len(found.left_out):
        keys.append(Key("left out", "var(--muted)", "cross"))
    asked = () if found.zones is None else found.zones.asked
    return (*keys, *(Key(zone, ZONE_COLORS[zone], "fill") for zone in asked))


def _zones(found: Found) -> Section | None:
    """What each zone is in this tomogram, and how many candidates lie in it."""
    if found.zones is None or not found.zones.asked:
        return None
    candidates, left_out = found.excluded.counts(), found.left_out.counts()
    rows = [
        (
            Cell(zone, color=ZONE_COLORS[zone]),
            Cell(found.zones.describe(zone)),
            Cell(str(candidates.get(zone, 0))),
            Cell(str(left_out.get(zone, 0))),
        )
        for zone in found.zones.asked
    ]
    total = (Cell("all"), Cell(""), Cell(str(len(found.excluded))), Cell(str(len(found.left_out))))
    text = (
        "Candidates in these zones were left out before anything was decided. Each counts for the first zone in "
        "the table that it lies in; left-out picks are those whose score reached the threshold."
    )
    table = Table(("zone", "in this tomogram", "candidates", "left-out picks"), (*rows, total))
    return Section("Where nothing was picked", (text,), tables=(table,))


def _classes(found: Found, classes: Sequence[ParticleClass]) -> Section:
    colors = colors_of(classes)
    rows = tuple(
        (
            Cell(c.name, color=colors[c.name]),
            *(Cell(str(_count(p, c.name))) for p in (found.picks, found.all, found.left_out.particles)),
            Cell(f"{threshold:.2f}"),
            Cell(f"{c.diameter_A:g}"),
        )
        for c, threshold in zip(classes, found.decision.thresholds, strict=True)
    )
    head = ("class", "picks", "candidates", "left out", "from score", "diameter (Å)")
    return Section("Picks of each class", tables=(Table(head, rows),))


def _averages(found: Found, classes: Sequence[ParticleClass]) -> Section | None:
    """What had a second look at the candidates."""
    if found.averages is None:
        return None
    pictures = tuple(
        Picture(embed.grey(embed.middle_planes(volume.numpy()), f"slices of the average of {c.name}"), c.name)
        for c, volume in zip(classes, found.averages.references, strict=True)
        if volume.numel()
    )
    others = ", ".join(c.name for c, known in zip(classes, found.averages.known, strict=True) if not known)
    text = (
        "The labelled particles of each class, averaged from random orientations when the model was trained: middle "
        f"planes xy, xz and yz; {found.averages.gain()}." + (f" There is none of {others}." if others else "")
    )
    if found.explained:
        text += f" Left out here, since neighbours explain them: {found.explained} candidates."
    return Section("Averages of the classes", (text,), pictures=pictures)


def _count(particles: Particles, name: str) -> int:
    return int((particles.classes == name).sum())


def _provenance(tomogram: Tomogram, model: Model, options: Mapping[str, str]) -> dict[str, str]:
    z, y, x = tomogram.shape
    on = model.trained_on
    return {
        "etpick": __version__,
        "tomogram": str(tomogram.path or tomogram.name),
        "voxels": f"{x} × {y} × {z} (x, y, z) of {tomogram.spacing_A:g} Å",
        "model": f"network {model.config.network}, working spacing {model.spacing_A:g} Å, seed {model.config.seed}",
        "trained on": ", ".join(on.get("tomograms", [])) or "unknown tomograms",
        "validated on": ", ".join(on.get("validation_tomograms", [])) or "unknown tomograms",
        "options": ", ".join(f"{name} = {value}" for name, value in options.items()) or "the usual ones",
    }
