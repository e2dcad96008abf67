"""The report on sets of picks assessed by averaging: the sets side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from etpick import __version__
from etpick.assessment.result import SetResult
from etpick.evaluation.local_resolution import THRESHOLD
from etpick.io.mrc import read_mrc
from etpick.report import averages, embed
from etpick.report.page import Cell, Key, Number, Picture, Report, Section, Table
from etpick.types import FloatArray, ParticleClass

# apart in lightness as well as in hue
_COLORS: Final = ("#2f86d6", "#e6862e", "#2aa876", "#c23f6f", "#8a63d2", "#7a7f87", "#b8a000")


def assessment_report(
    results: Sequence[SetResult], folders: Sequence[Path], kind: ParticleClass, notes: Sequence[str]
) -> Report:
    """Averages, curves and tables of sets; `folders` hold the maps of each."""
    colors = {result.name: _COLORS[i % len(_COLORS)] for i, result in enumerate(results)}
    how = ", ".join(dict.fromkeys(result.how for result in results))
    lead = (
        f"Subtomogram averages of {kind.name} ({kind.diameter_A / 10:g} nm) by {how}, every set by the same protocol: "
        "orientations from nothing but the picks themselves, two halves refined apart. The better set averages to a "
        "finer resolution from as many particles."
    )
    numbers = tuple(Number(r.name, _resolution(r), f"{r.particles} particles") for r in results)
    volumes = [_maps(folder) for folder in folders]
    keys = tuple(Key(name, color) for name, color in colors.items())
    sections = (
        _table(results, colors),
        _averages(results, volumes),
        _shells(results, colors, keys),
        _local(results, colors, keys, volumes),
        _subsets(results, colors, keys),
        _particles(results, colors, keys),
        Section("Made by", tables=(Table((), ((Cell("etpick"), Cell(__version__)), (Cell("by"), Cell(how))),
                                         numeric=False),)),
    )  # fmt: skip
    return Report("Sets of picks assessed", lead, numbers, tuple(dict.fromkeys(notes)), sections)


def _maps(folder: Path) -> Mapping[str, FloatArray]:
    return {
        name: np.array(read_mrc(folder / f"{name}.mrc").data, dtype=np.float64)
        for name in ("average", "local_resolution", "mask")
    }


def _resolution(result: SetResult) -> str:
    if np.isinf(result.resolution_A):
        return "none"
    return f"{'≤ ' if result.at_limit else ''}{result.resolution_A:.1f} Å"


def _table(results: Sequence[SetResult], colors: Mapping[str, str]) -> Section:
    rows = tuple(
        (
            Cell(r.name, color=colors[r.name]), Cell(str(r.particles)), Cell(_resolution(r)),
            Cell(f"{np.median(r.local_A):.1f} Å"), Cell(_b_factor(r)), Cell(f"{r.correlation.mean():.3f}"),
            Cell(f"{np.median(r.log_likelihood):.1f}"), Cell(f"{r.top.mean():.2f}"),
            Cell(f"{np.median(r.moved_A):.0f} Å"),
        )
        for r in results
    )  # fmt: skip
    head = (
        "set", "particles", "resolution", "local", "B-factor", "correlation", "log-likelihood", "probability",
        "off centre",
    )  # fmt: skip
    caption = (
        "Resolution at a corrected Fourier shell correlation of 0.143; local resolution, median; B-factor, with its "
        "95 % band in the plot below; means of the correlation with the average and of the maximum-value probability; "
        f"{results[0].likelihood_is}, median. A set's likelihoods are under its own average: compare them where the "
        "averages are about as good. Off centre: from the pick to where the particle was found, median."
    )
    return Section("Side by side", tables=(Table(head, rows, caption),))


def _b_factor(result: SetResult) -> str:
    fit = result.b_factor
    if fit is None or np.isinf(fit.b_A2):
        return "–"
    return f"{fit.b_A2:.0f} Å²"


def _averages(results: Sequence[SetResult], volumes: Sequence[Mapping[str, FloatArray]]) -> Section:
    pictures = tuple(
        Picture(embed.grey(embed.middle_planes(v["average"]), f"slices of the average of {r.name}"),
                f"{r.name}, {_resolution(r)}", wide=True)
        for r, v in zip(results, volumes, strict=True)
    )  # fmt: skip
    text = (
        "The middle planes xy, xz and yz, each shell of frequencies weighted by how far the halves agree in it. "
        "Orientation and hand are those that each set found: the averages need not be turned alike."
    )
    return Section("Averages", (text,), (), pictures)


def _shells(results: Sequence[SetResult], colors: Mapping[str, str], keys: tuple[Key, ...]) -> Section:
    text = (
        "Correlation of the two halves, corrected for the mask (a soft ball, the same for all sets). The dashed line "
        f"is 0.143. Left of the dotted line, {results[0].start_A:.0f} Å, the halves had a common start, so only what "
        "lies right of it was found twice. Small charts: dotted without mask, dashed masked, grey masked with random "
        "phases, thick corrected."
    )
    all_sets = Picture(
        embed.svg(averages.draw_shell_correlations(results, colors), "Fourier shell correlation of all sets"),
        "all sets", wide=True,
    )  # fmt: skip
    each = tuple(
        Picture(embed.svg(averages.draw_four_curves(r, colors[r.name]), f"four curves of {r.name}"), r.name)
        for r in results
    )
    return Section("Fourier shell correlation", (text,), keys, (all_sets, *each))


def _local(
    results: Sequence[SetResult], colors: Mapping[str, str], keys: tuple[Key, ...],
    volumes: Sequence[Mapping[str, FloatArray]],
) -> Section:  # fmt: skip
    low = min(float(r.local_A.min()) for r in results)
    high = max(float(np.percentile(r.local_A, 90)) for r in results)
    pictures = tuple(
        Picture(
            embed.png(
                averages.draw_local_resolution(
                    v["local_resolution"], v["mask"], v["average"], (low, max(high, low + 1))
                ),
                f"local resolution of {r.name}",
            ),
            r.name,
        )
        for r, v in zip(results, volumes, strict=True)
    )
    shares = averages.draw_exceeding(results, colors, lambda r: r.local_A, "local resolution (Å)", "volume")
    curve = Picture(embed.svg(shares, "share of the volume above a local resolution"), "all sets", wide=True)
    text = f"Within windows of half the box, at a correlation of {THRESHOLD:g}."
    return Section("Local resolution", (text,), keys, (*pictures, curve))


def _subsets(results: Sequence[SetResult], colors: Mapping[str, str], keys: tuple[Key, ...]) -> Section:
    text = (
        "Resolution of averages of random subsets (Rosenthal and Henderson). The steeper the line, the more each "
        "particle adds: the slope is 2 / B. The band is that of lines through subsets drawn anew. Poses are those of "
        "the whole refinement. Hollow points are at the limit of the spacing and do not count."
    )
    picture = Picture(embed.svg(averages.draw_b_factors(results, colors), "Rosenthal–Henderson plot"), "", wide=True)
    return Section("Resolution and number of particles", (text,), keys, (picture,))


def _particles(results: Sequence[SetResult], colors: Mapping[str, str], keys: tuple[Key, ...]) -> Section:
    draw = averages.draw_histograms
    likelihood = results[0].likelihood_is
    charts = {
        likelihood: draw(results, colors, lambda r: r.log_likelihood, likelihood),
        "correlation with the average": draw(results, colors, lambda r: r.correlation, "correlation with the average"),
        "distance from the pick to the particle (Å)": draw(
            results, colors, lambda r: r.moved_A, "distance from the pick to the particle (Å)"
        ),
        "maximum-value probability": averages.draw_exceeding(
            results, colors, lambda r: r.top, "maximum-value probability", "particles"
        ),
    }
    text = (
        "How much likelier each particle is under the average than as noise; how well it correlates with the average "
        "of its half; and how sure its orientation and place are (the probability of the likeliest of all poses "
        "tried): the further right, the better. And how far from its pick each was found: refinement makes good for "
        "picks off centre, as long as they are within reach."
    )
    pictures = tuple(Picture(embed.svg(figure, name), name, wide=True) for name, figure in charts.items())
    return Section("Particles", (text,), keys, pictures)
