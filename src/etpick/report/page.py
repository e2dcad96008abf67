"""A report as data, and how it becomes one HTML file that needs nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from etpick.io.atomic import atomic_write


@dataclass(frozen=True)
class Number:
    """A figure at the top of the report: what, how much, and a remark in small print."""

    label: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class Cell:
    """A cell of a table. `shade` 0–1 tints it, green where `good`, else red; `color` #rrggbb adds a dot."""

    text: str
    shade: float = 0.0
    good: bool = True
    color: str = ""


@dataclass(frozen=True)
class Table:
    """A table with a head; the first cell of a row names the row, the others are numbers where `numeric`."""

    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Picture:
    """`markup` comes from `etpick.report.embed` and is put in as it is; the caption is text."""

    markup: str
    caption: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Key:
    """An entry of a section's legend; style is solid, dashed, cross or fill."""

    label: str
    color: str
    style: str = "solid"


@dataclass(frozen=True)
class Section:
    """A heading with text, a legend, pictures and tables, each where there is any; `dense` sets pictures small."""

    title: str
    text: tuple[str, ...] = ()
    keys: tuple[Key, ...] = ()
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    dense: bool = False


@dataclass(frozen=True)
class Report:
    """What a report says, from top to bottom."""

    title: str
    lead: str = ""
    numbers: tuple[Number, ...] = ()
    notes: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()


def render(report: Report) -> str:
    """The page. All text is escaped; no script, and no address outside the page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("etpick.report", "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("report.html").render(report=report)


def write_report(path: Path, report: Report, *, overwrite: bool = False) -> Path:
    """Write the page and return where it is. Raises OutputError where it exists or cannot be written."""
    text = render(report)
    with atomic_write(path, overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
