"""Figures as markup that stands inside a page, without a file or an address of its own."""

from __future__ import annotations

import base64
import io
import re
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from etpick.report.charts import INK, MUTED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CONTRAST = (0.5, 99.5)  # percentiles of a volume that are black and white
_PNG_DPI = 160
_PNG_COLORS = 200  # a palette makes a grey slice with a few coloured circles a third of the size


def svg(figure: Figure, alt: str) -> str:
    """An inline SVG whose text is text, in the font and the colours of the page."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "etpick"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<g id=\"[^\"]*\"", "<g", text)  # matplotlib repeats these from figure to figure
    text = re.sub(r"font: (?:\d+ )?([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)
    text = text.replace(INK, "currentColor").replace(MUTED, "var(--muted)")
    text = re.sub(r' (?:width|height)="[\d.]+pt"', "", text)  # as wide as its place in the page
    return f'<svg role="img" aria-label="{escape(alt)}" ' + text.removeprefix("<svg ")


def png(figure: Figure, alt: str) -> str:
    """An <img> that carries its picture within, as PNG."""
    data = base64.b64encode(_png_bytes(figure)).decode("ascii")
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{data}">'


def middle_planes(volume: NDArray[np.floating]) -> NDArray[np.uint8]:
    """The middle planes xy, xz and yz of a volume side by side, [row, column], first row at the top."""
    middle = volume.shape[0] // 2
    planes = [volume[middle], volume[:, middle], volume[:, :, middle]]
    low, high = np.percentile(volume, _CONTRAST)
    gap = np.full((volume.shape[0], 2), high)
    joined = np.hstack([planes[0], gap, planes[1], gap, planes[2]])
    levels = 255 * ((joined - low) / max(high - low, 1e-12)).clip(0, 1)
    return np.kron(np.flipud(levels), np.ones((4, 4))).astype(np.uint8)


def grey(levels: NDArray[np.uint8], alt: str) -> str:
    """An <img> of grey levels [y, x], the first row at the top."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, format="png", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="{escape(alt)}" loading="lazy" decoding="async" src="data:image/png;base64,{data}">'


def _png_bytes(figure: Figure) -> bytes:
    from PIL import Image

    first, second = io.BytesIO(), io.BytesIO()
    figure.savefig(first, format="png", dpi=_PNG_DPI)
    picture = Image.open(first).convert("RGB")
    # Maximum coverage, because the median cut loses the colour of a lone circle.
    picture.quantize(_PNG_COLORS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        second, format="png", optimize=True
    )
    return second.getvalue()
