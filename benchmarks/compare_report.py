"""The comparison as runs/NAME.json, a Markdown table and figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from common import PHANTOM_CLASSES, REPORTED, RESULTS, keep, phantom
from outcome import Outcome, figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELS = {
    "fast": "etpick, fast recipe",
    "paper": "DeepETPicker as published",
    "paper-scores": "paper's network, our picking",
    "released": "our network, DeepETPicker's release",
    "mean-shift": "our network, DeepFinder's mean shift",
    "dog": "difference of Gaussians",
    "template": "template matching (pyTME)",
}
COLORS = {
    "fast": "#0072b2", "paper": "#d55e00", "paper-scores": "#e69f00", "released": "#cc79a7", "mean-shift": "#009e73",
    "dog": "#777777", "template": "#000000",
}  # fmt: skip  # Okabe and Ito's, told apart by colour-blind readers
COLUMNS = (
    ("training_minutes", "training / min", ".1f"), ("picking_seconds", "picking / s", ".0f"),
    ("picking_cpu_seconds", "its CPU time / s", ".0f"), ("peak_memory_gb", "peak memory / GB", ".1f"),
    ("precision", "precision", ".3f"), ("recall", "recall", ".3f"),
    ("localisation_f1", "localisation F1", ".3f"), ("distance_vx", "AD / voxel", ".2f"),
    ("mean_class_f1", "mean class F1", ".3f"), ("average_precision", "AP", ".3f"),
)  # fmt: skip
BY_CLASS = (
    ("class_f1", "F1 by class", ".2f"), ("class_average_precision", "Average precision by class", ".2f"),
    ("class_distance_vx", "AD by class / voxel", ".2f"),
)  # fmt: skip
DRAWN = {"localisation_f1": "localisation F1", "distance_vx": "AD / voxel", "mean_class_f1": "mean class F1"}
Summary = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Row:
    """One method with one seed; no seed where nothing is learnt."""

    method: str
    seed: int | None
    outcome: Outcome
    trained_on: Mapping[str, Any] = field(default_factory=dict)


def report(name: str, protocol: str, options: dict[str, Any], rows: Sequence[Row], notes: dict[str, str]) -> None:
    """Score the rows; write runs/NAME.json, runs/NAME.md and runs/NAME-*.png."""
    truth = phantom(options["tomogram"])[1]
    runs: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        trained = {"training_minutes": row.trained_on.get("minutes"), "trained_on": row.trained_on}
        about = {"seed": row.seed, "command": list(row.outcome.command), "limits": row.outcome.limits}
        runs.setdefault(row.method, []).append(figures(row.outcome, truth) | trained | about)
    methods: dict[str, dict[str, Any]] = {
        m: {"label": LABELS[m], "summary": summarise(r), "runs": r} for m, r in runs.items()
    }
    keep(name, {"protocol": protocol, "options": options, "notes": notes, "methods": methods})
    summaries = {method: content["summary"] for method, content in methods.items()}
    (RESULTS / f"{name}.md").write_text(markdown(summaries, notes, options["tomogram"]), encoding="utf-8")
    whole = {m: r for m, r in runs.items() if r[0]["localisation_f1"] is not None}
    if whole:
        draw_scores(whole).savefig(RESULTS / f"{name}-scores.png", dpi=160)
    if rows:
        draw_classes(runs).savefig(RESULTS / f"{name}-classes.png", dpi=160)
        draw_curves(rows, options).savefig(RESULTS / f"{name}-curves.png", dpi=160)


def summarise(runs: Sequence[Mapping[str, Any]]) -> Summary:
    """Mean, lowest and highest over the seeds of every figure, and of every figure of a class."""
    whole = {key: span(run[key] for run in runs) for key, _, _ in COLUMNS}
    return whole | {key: {n: span(run[key].get(n) for run in runs) for n in PHANTOM_CLASSES} for key, _, _ in BY_CLASS}


def span(values: Iterable[float | None]) -> dict[str, float] | None:
    """None where nothing was measured."""
    known = [v for v in values if v is not None and math.isfinite(v)]
    return {"mean": float(np.mean(known)), "lowest": min(known), "highest": max(known)} if known else None


# --- table ---------------------------------------------------------------------------------------


def markdown(summaries: Mapping[str, Summary], notes: Mapping[str, str], tomogram: int) -> str:
    """The table of all figures, and one of each figure by class; seeds as mean (lowest–highest)."""
    parts = [f"Phantom tomogram {tomogram}; mean (lowest–highest) over the seeds."]
    parts.append(_table("method", [(title, kind, itemgetter(key)) for key, title, kind in COLUMNS], summaries))
    for key, title, kind in BY_CLASS:
        columns = [(f"{n} {d} Å", kind, lambda s, k=key, n=n: _mean_only(s[k][n])) for n, d in PHANTOM_CLASSES.items()]
        parts.append(f"{title}, mean over the seeds:\n\n" + _table("method", columns, summaries))
    parts += [f"{LABELS[method]}: {note}." for method, note in notes.items()]
    return "\n\n".join(parts) + "\n"


def _table(
    first: str, columns: Sequence[tuple[str, str, Callable[[Summary], Any]]], rows: Mapping[str, Summary]
) -> str:
    lines = [f"| {' | '.join([first, *(title for title, _, _ in columns)])} |", "|---" * (len(columns) + 1) + "|"]
    for method, summary in rows.items():
        cells = [_cell(value(summary), kind) for _, kind, value in columns]
        lines.append(f"| {' | '.join([LABELS[method], *cells])} |")
    return "\n".join(lines)


def _cell(value: dict[str, float] | None, kind: str) -> str:
    if value is None:
        return "–"
    mean, low, high = (format(value[key], kind) for key in ("mean", "lowest", "highest"))
    return mean if low == high else f"{mean} ({low}–{high})"


def _mean_only(value: dict[str, float] | None) -> dict[str, float] | None:
    return value and dict.fromkeys(value, value["mean"])


# --- figures -------------------------------------------------------------------------------------


def draw_scores(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """Localisation F1, AD and mean class F1: a dot for each seed, a stroke for their mean."""
    methods = list(runs)[::-1]
    figure, panels = _panels(1, 3, 11, 0.6 + 0.45 * max(3, len(methods)), sharey=True)
    for axes, (key, title) in zip(panels, DRAWN.items(), strict=True):
        for height, method in enumerate(methods):
            values = [run[key] for run in runs[method]]
            axes.plot(values, [height] * len(values), "o", color=COLORS[method], markersize=7, alpha=0.75)
            axes.plot([np.mean(values)] * 2, [height - 0.3, height + 0.3], color=COLORS[method], linewidth=2)
        axes.set_xlabel(title)
        axes.margins(x=0.08)
        axes.set_xlim(left=0 if key == "distance_vx" else None)
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(methods)), [LABELS[m] for m in methods])
    panels[0].set_ylim(-0.6, len(methods) - 0.4)
    return figure


def draw_classes(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """F1 of each class, from small to large: the mean over seeds, and a thin line from lowest to highest."""
    figure, (axes,) = _panels(1, 1, 11, 4.6)
    names = sorted(REPORTED, key=lambda name: PHANTOM_CLASSES[name])
    for number, (method, results) in enumerate(runs.items()):
        values = np.array([[run["class_f1"].get(name, math.nan) for name in names] for run in results], dtype=float)
        at = np.arange(len(names)) + 0.08 * (number - (len(runs) - 1) / 2)
        style = "-" if np.isfinite(values).all() else ""
        axes.plot(at, values.mean(axis=0), marker="o", linestyle=style, color=COLORS[method], label=LABELS[method])
        axes.vlines(at, values.min(axis=0), values.max(axis=0), color=COLORS[method], linewidth=1)
    axes.set_xticks(range(len(names)), [f"{name}\n{PHANTOM_CLASSES[name]} Å" for name in names])
    axes.set(ylim=(0, 1.02), ylabel="F1 of the class")
    axes.grid(axis="y", alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def draw_curves(rows: Sequence[Row], options: Mapping[str, Any]) -> Figure:
    """Precision–recall curves without regard to class, and of the classes matched with templates; dots: the picks."""
    truth = phantom(options["tomogram"])[1]
    names = [None, *options["templates"]]
    wide = min(4, len(names))
    figure, panels = _panels(math.ceil(len(names) / wide), wide, 3.1 * wide, 3.6 * math.ceil(len(names) / wide))
    handles = {}
    for row in rows:
        curves, result = row.outcome.curves(truth), row.outcome.evaluation(truth)
        for axes, name in zip(panels, names, strict=False):
            if name is None and row.method == "template":
                continue
            curve = curves.localisation if name is None else curves.classification[name]
            point = result.localisation if name is None else result.classification[name]
            (line,) = axes.plot(curve.recall, curve.precision, color=COLORS[row.method], linewidth=1.3, alpha=0.8)
            axes.plot(point.recall, point.precision, "o", color=COLORS[row.method], markersize=5)
            handles[LABELS[row.method]] = line
    for axes, name in zip(panels, names, strict=False):
        title = "localisation, all classes" if name is None else f"{name}, {PHANTOM_CLASSES[name]} Å"
        axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="recall", title=title)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("precision")
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def _panels(rows: int, columns: int, width: float, height: float, **options: Any) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    panels: list[Axes] = list(np.ravel(figure.subplots(rows, columns, **options)))
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels
