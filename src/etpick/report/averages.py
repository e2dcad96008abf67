"""Charts and pictures of averages: curves of several sets in their colours, and slices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from etpick.assessment.result import SetResult
from etpick.evaluation.resolution import FIXED_THRESHOLD
from etpick.report.charts import INK, MUTED, chart
from etpick.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDE, _SMALL = (6.4, 3.0), (3.3, 2.6)
_DASHED: Final = (0, (4, 2))
_BINS: Final = 30
_CONTRAST: Final = (0.5, 99.5)  # percentiles
_EMPTY_A: Final = 1e6

Colors = Mapping[str, str]


def draw_shell_correlations(results: Sequence[SetResult], colors: Colors) -> Figure:
    """The corrected curves of all sets over spatial frequency."""
    figure, axes = chart(*_WIDE)
    for result in results:
        axes.plot(_frequencies(result), result.curves.corrected, color=colors[result.name], linewidth=2)
    _thresholds(axes, results[0])
    return figure


def draw_four_curves(result: SetResult, color: str) -> Figure:
    """One set's curve as it is (dotted), masked (dashed), masked with random phases (thin), corrected (thick)."""
    figure, axes = chart(*_SMALL)
    x, curves = _frequencies(result), result.curves
    axes.plot(x, curves.unmasked, color=color, linewidth=1.2, linestyle=":")
    axes.plot(x, curves.masked, color=color, linewidth=1.2, linestyle=_DASHED)
    axes.plot(x, curves.randomised, color=MUTED, linewidth=1)
    axes.plot(x, curves.corrected, color=color, linewidth=2.2)
    _thresholds(axes, result)
    return figure


def _frequencies(result: SetResult) -> FloatArray:
    return np.arange(len(result.curves.corrected)) / result.box_A


def _thresholds(axes: Axes, result: SetResult) -> None:
    axes.axhline(FIXED_THRESHOLD, color=INK, linewidth=1, linestyle=_DASHED)
    axes.axvline(1 / result.start_A, color=MUTED, linewidth=1, linestyle=":")
    axes.set(ylim=(-0.1, 1.02), xlabel="wavelength (Å)", ylabel="Fourier shell correlation")
    last = _frequencies(result)[-1]
    shown = [length for length in (200, 100, 60, 40, 30, 25, 20, 15, 12, 10, 8, 6, 5, 4, 3) if 1 / length <= last]
    kept = [length for i, length in enumerate(shown) if i == 0 or 1 / length - 1 / shown[i - 1] > last / 30]
    axes.set_xticks([1 / length for length in kept], [str(length) for length in kept])
    axes.set_xlim(0, last)


def draw_b_factors(results: Sequence[SetResult], colors: Colors) -> Figure:
    """Rosenthal–Henderson plot: 1 / resolution² of random subsets over their size, the line, and its band."""
    figure, axes = chart(*_WIDE)
    for result in results:
        color, known = colors[result.name], np.isfinite(result.subset_resolutions_A)
        counts, resolutions = result.subset_counts[known], result.subset_resolutions_A[known]
        free = result.free[known]
        axes.plot(counts[free], 1 / resolutions[free] ** 2, "o", color=color, markersize=4, alpha=0.7)
        axes.plot(counts[~free], 1 / resolutions[~free] ** 2, "o", color=color, markersize=5, fillstyle="none")
        fit = result.b_factor
        if fit is not None:
            x = np.linspace(np.log(result.subset_counts.min()), np.log(result.subset_counts.max()), 50)
            axes.plot(np.exp(x), fit.slope * x + fit.intercept, color=color, linewidth=1.8)
            low, high = fit.band(x)
            axes.fill_between(np.exp(x), low, high, color=color, alpha=0.14, linewidth=0)
    axes.set(xscale="log", xlabel="particles", ylabel="1 / resolution² (1/Å²)")
    largest = max(results, key=lambda result: result.particles)
    sizes = np.unique(largest.subset_counts)
    axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axes.set_xticks([], minor=True)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-3, -3))
    axes.grid(color=MUTED, alpha=0.18, linewidth=0.8)
    return figure


def draw_histograms(
    results: Sequence[SetResult], colors: Colors, values: Callable[[SetResult], FloatArray], label: str
) -> Figure:
    """Shares of the particles by a value, a line for each set."""
    figure, axes = chart(*_WIDE)
    all_of_them = np.concatenate([values(r) for r in results])
    low, high = map(float, np.percentile(all_of_them, _CONTRAST))
    bins = np.linspace(low, high, _BINS + 1)
    for result in results:
        own = values(result).clip(bins[0], bins[-1])
        counts, _ = np.histogram(own, bins)
        axes.stairs(counts / len(own), bins, color=colors[result.name], linewidth=1.8)
        axes.stairs(counts / len(own), bins, color=colors[result.name], alpha=0.10, fill=True)
    axes.set(xlabel=label, ylabel="share of the particles")
    return figure


def draw_exceeding(
    results: Sequence[SetResult], colors: Colors, values: Callable[[SetResult], FloatArray], label: str, share_of: str
) -> Figure:
    """The share whose value exceeds a threshold, over the threshold."""
    figure, axes = chart(*_WIDE)
    for result in results:
        own = np.sort(values(result))
        own = own[own < _EMPTY_A]
        if len(own):
            left = 1 - np.arange(len(own)) / len(own)
            axes.step(own, left, where="pre", color=colors[result.name], linewidth=2)
    axes.set(ylim=(0, 1.02), xlabel=label, ylabel=f"share of the {share_of} above")
    axes.grid(color=MUTED, alpha=0.18, linewidth=0.8)
    return figure


def draw_local_resolution(
    local_A: FloatArray, mask: FloatArray, density: FloatArray, limits_A: tuple[float, float]
) -> Figure:
    """The middle plane of an average with its local resolution in colour, blue fine and red coarse."""
    figure, axes = chart(3.3, 2.6)
    middle = len(local_A) // 2
    axes.imshow(density[middle], cmap="gray", origin="lower")
    shown = np.ma.masked_where(mask[middle] < 1 / 2, local_A[middle])
    image = axes.imshow(
        shown, cmap="RdYlBu_r", origin="lower", vmin=limits_A[0], vmax=limits_A[1], alpha=0.6, interpolation="bilinear"
    )
    axes.axis("off")
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("local resolution (Å)", color=INK, fontsize=9)
    bar.ax.tick_params(color=MUTED, labelcolor=MUTED, labelsize=8)
    bar.outline.set_visible(False)
    return figure
