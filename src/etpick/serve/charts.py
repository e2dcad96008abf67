"""Charts as Plotly figures, in plain dictionaries: Plotly draws them in the browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from etpick.types import Particles

INK: Final = "#5b6470"
GRID: Final = "rgba(125,135,150,0.22)"
LOSS: Final = "#7b8794"
F1: Final = "#1f8a5b"
LINE: Final = "#d9480f"
BINS: Final = 50
_MODEBAR: Final = {"displayModeBar": False}


def histogram(
    picks: Mapping[str, Particles], colors: Mapping[str, str], threshold: float, lowest: float
) -> dict[str, Any]:
    """Scores by class, in bins of 0.02 from 0 to 1, with the threshold as a line that can be dragged.

    Below `lowest` nothing was kept, which is shaded. Counts have a logarithmic axis when they differ that much.
    """
    edges = np.linspace(0, 1, BINS + 1)
    centres = ((edges[:-1] + edges[1:]) / 2).round(4).tolist()
    bars, tallest = [], 0
    for name, color in colors.items():
        scores = np.concatenate([np.zeros(0), *(scores_of(p.of_class(name)) for p in picks.values())])
        counts = np.histogram(scores, edges)[0]
        tallest = max(tallest, int(counts.max(initial=0)))
        bars.append({
            "type": "bar", "x": centres, "y": counts.tolist(), "name": name, "marker": {"color": color},
            "width": 1 / BINS, "hovertemplate": "%{y} with score %{x:.2f}<extra>" + name + "</extra>",
        })  # fmt: skip
    layout = _layout("score: the chance that a particle is there", "picks")
    layout["xaxis"] |= {"range": [0, 1], "fixedrange": True, "dtick": 0.1}
    layout["yaxis"] |= {"fixedrange": True, "type": "log" if tallest > 200 else "linear", "rangemode": "tozero"}
    layout |= {"barmode": "stack", "bargap": 0, "shapes": [threshold_line(threshold)], "showlegend": len(bars) > 1}
    if lowest > 0:
        layout["shapes"].append({
            "type": "rect", "xref": "x", "yref": "paper", "x0": 0, "x1": lowest, "y0": 0, "y1": 1, "line": {"width": 0},
            "fillcolor": GRID, "editable": False,
        })  # fmt: skip
    return {"data": bars, "layout": layout, "config": _MODEBAR | {"edits": {"shapePosition": True}}}


def threshold_line(threshold: float) -> dict[str, Any]:
    """A vertical line to drag."""
    return {
        "type": "line", "xref": "x", "yref": "paper", "x0": threshold, "x1": threshold, "y0": 0, "y1": 1,
        "line": {"color": LINE, "width": 4}, "editable": True,
    }  # fmt: skip


def dragged_to(event: Mapping[str, Any]) -> float | None:
    """Where a `plotly_relayout` event says that the threshold was dragged to; None for other events."""
    found = [event[key] for key in ("shapes[0].x0", "shapes[0].x1") if key in event]
    return float(np.clip(sum(found) / len(found), 0, 1)) if found else None


def scores_of(picks: Particles) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(k,) the known scores."""
    return np.zeros(0) if picks.scores is None else picks.scores[np.isfinite(picks.scores)]


def training_curves(
    losses: Sequence[tuple[int, float]], f1s: Sequence[tuple[int, float]], steps: int
) -> dict[str, Any]:
    """Loss and validation F1 over the steps, with an axis each."""
    loss = {
        "type": "scatter", "mode": "lines", "name": "loss", "x": [s for s, _ in losses], "y": [v for _, v in losses],
        "line": {"color": LOSS, "width": 1.5}, "hovertemplate": "loss %{y:.3f} at step %{x}<extra></extra>",
    }  # fmt: skip
    f1 = {
        "type": "scatter", "mode": "lines+markers", "name": "validation F1", "x": [s for s, _ in f1s],
        "y": [v for _, v in f1s], "yaxis": "y2", "line": {"color": F1, "width": 2.5}, "marker": {"size": 8},
        "cliponaxis": False,
        "hovertemplate": "F1 %{y:.3f} at step %{x}<extra></extra>",
    }  # fmt: skip
    layout = _layout("step", "loss")
    layout["xaxis"]["range"] = [0, max(steps, 1)]
    layout["yaxis"]["rangemode"] = "tozero"
    layout["yaxis2"] = {
        "title": {"text": "validation F1", "font": {"color": F1}}, "overlaying": "y", "side": "right",
        "range": [0, 1.02], "showgrid": False, "tickfont": {"color": F1},
    }  # fmt: skip
    layout["margin"]["r"] = 56
    layout["showlegend"] = True
    return {"data": [loss, f1], "layout": layout, "config": _MODEBAR}


def _layout(x: str, y: str) -> dict[str, Any]:
    axis = {"gridcolor": GRID, "zeroline": False, "linecolor": GRID}
    return {
        "margin": {"l": 52, "r": 12, "t": 8, "b": 40},
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "inherit", "size": 13, "color": INK},
        "xaxis": axis | {"title": {"text": x}}, "yaxis": axis | {"title": {"text": y}},
        "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.0, "yanchor": "bottom"},
        "hoverlabel": {"namelength": -1}, "uirevision": "keep",
    }  # fmt: skip
