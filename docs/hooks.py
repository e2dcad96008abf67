"""What mkdocs asks while it builds the site: pages made from the code, and equations as MathML.

A line `[[commands]]` becomes the help of every command, `[[python]]` the documentation of every public name,
`[[configuration]]` tables of every option with its default. Equations are `$…$` and `$$…$$`, as GitHub shows them too.
"""

from __future__ import annotations

import html
import inspect
import re
from collections.abc import Iterator
from typing import Any

import click
from latex2mathml.converter import convert
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import etpick
from etpick import config as options
from etpick.cli import main
from etpick.io import project

MATH = re.compile(r'<(span|div) class="arithmatex">(.*?)</\1>', re.DOTALL)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in what is made from the code."""
    for mark, make in (("[[commands]]", commands), ("[[python]]", python), ("[[configuration]]", configuration)):
        if mark in markdown:
            markdown = markdown.replace(mark, make())
    return markdown


def on_page_content(content: str, **_: Any) -> str:
    """Equations become MathML, which browsers draw without scripts."""
    return MATH.sub(_mathml, content)


def _mathml(match: re.Match[str]) -> str:
    block = match[1] == "div"
    latex = html.unescape(match[2]).strip().removeprefix("\\[" if block else "\\(")
    mathml = convert(latex.removesuffix("\\]" if block else "\\)"), display="block" if block else "inline")
    return f'<div class="equation">{mathml}</div>' if block else mathml


def commands() -> str:
    """A section for each command, in the order of the work: its help, its usage and its options."""
    return "\n\n".join(_command(name, command) for name, command in main.commands.items())


def _command(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=f"etpick {name}")
    text = inspect.cleandoc(command.help or "").replace("\b\n", "```text\n")
    if "```" in text:
        text += "\n```"
    records = [p.get_help_record(context) for p in command.params if isinstance(p, click.Option)]
    rows = [f"| `{record[0]}` | {_cell(record[1])} |" for record in records if record]
    return "\n".join([
        f"## etpick {name}", "", text, "", "```text", command.get_usage(context).removeprefix("Usage: "), "```", "",
        "| option | meaning |", "|---|---|", *rows,
    ])  # fmt: skip


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("[", "\\[")


def python() -> str:
    """A section for each public name of the package, by the module that it lives in."""
    homes = ((home, name) for home, names in etpick._HOMES.items() for name in names)
    return "\n".join(
        f"::: {home}.{name}\n    options:\n      heading: etpick.{name}\n      toc_label: {name}\n"
        for home, name in sorted(homes, key=lambda pair: (not pair[1][0].islower(), pair[1].lower()))
    )


def configuration() -> str:
    """A table for each config and each kind of entry in a project file."""
    sections = [_section(kind) for kind in _models(options)]
    entries = (project.ProjectFile, project.ClassEntry, project.TomogramEntry)
    return "\n\n".join([*sections, "## The project file", *(_section(kind, "###") for kind in entries)])


def _models(module: Any) -> Iterator[type[BaseModel]]:
    for name, kind in vars(module).items():
        own = isinstance(kind, type) and issubclass(kind, BaseModel) and kind.__module__ == module.__name__
        if own and not name.startswith("_"):
            yield kind


def _section(kind: type[BaseModel], level: str = "##") -> str:
    recipes = [options.recipe("fast"), options.recipe("paper")] if kind is options.TrainingConfig else []
    heads = ["option", *(["default, fast", "default, paper"] if recipes else ["default"]), "values", "meaning"]
    rows = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for name, field in kind.model_fields.items():
        values = [getattr(r, name) for r in recipes] or [_default(field)]
        meaning = _cell(field.description or "")
        cells = [f"`{field.alias or name}`", *map(_shown, values), _values(field), meaning]
        rows.append(f"| {' | '.join(cells)} |")
    first = (kind.__doc__ or "").strip().splitlines()[0]
    return "\n".join([f"{level} {kind.__name__}", "", first, "", *rows])


def _default(field: FieldInfo) -> Any:
    return "must be given" if field.is_required() else field.default


def _shown(value: Any) -> str:
    if isinstance(value, BaseModel):
        return f"see [{type(value).__name__}](#{type(value).__name__.lower()})"
    return {None: "–", "must be given": "must be given"}.get(value, f"`{value}`")


def _values(field: FieldInfo) -> str:
    kind = re.sub(r"\w+\.(?=\w)", "", str(field.annotation).replace("<class '", "").replace("'>", ""))
    kind = kind.replace("NoneType", "None").replace(" | None", "")
    if kind.startswith("Literal["):
        return ", ".join(f"`{value}`" for value in re.findall(r"'([^']+)'", kind))
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    limits = [f"{sign} {getattr(m, key):g}" for m in field.metadata for key, sign in signs.items() if hasattr(m, key)]
    return ", ".join([f"`{kind}`", *limits])
