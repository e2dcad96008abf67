"""Pages of the documentation as things to run.

Each page is run from top to bottom in one folder: `bash` and `python` blocks in turn. Comments, which a reader does
not see, say what the page needs and what is replaced because it would take too long:

    <!-- snippets: start with tomograms truth -->     at the top: what of the prepared folder the page starts with
    <!-- snippet: instead of "--max-minutes 4" use "--steps 2" -->     before a block; as many as needed
    <!-- snippet: first run "mkdir CBOX" -->           what the reader has and the prepared folder lacks
    <!-- snippet: only with "relion_refine" -->       where that program is on PATH
    <!-- snippet: not run, because it needs a cluster -->
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from etpick.cli import main

SHOWN = {"toml", "text", "csv", "json", "xml"}
"""Languages of blocks that show something and are not run."""

_FENCE = re.compile(r"^```(?P<language>[\w-]*)[^\n]*\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
_REMARK = re.compile(r"<!-- snippet: (.+?) -->")
_INSTEAD = re.compile(r'instead of "(.+?)" use "(.*?)"')
_FIRST = re.compile(r'first run "(.+)"')
_ONLY = re.compile(r'only with "(.+)"')
_REASON = re.compile(r"not run, because (.+)")
_START = re.compile(r"<!-- snippets: start with (.+?) -->")
_SHELL = set("|<>&;$`(){}=#\\")


@dataclass(frozen=True)
class Snippet:
    """A block of a page: its language, its line, what runs (and what before it), and why it does not run, if so."""

    language: str
    line: int
    code: str
    first: str = ""
    reason: str = ""


def snippets(text: str) -> Iterator[Snippet]:
    """The blocks of a page, replacements made. Raises ValueError for a remark that says nothing known."""
    end = 0
    for match in _FENCE.finditer(text):
        code, first, reason = match["code"], "", ""
        for remark in _REMARK.findall(text[end : match.start()]):
            if (instead := _INSTEAD.fullmatch(remark)) and instead[1] in code:
                code = code.replace(instead[1], instead[2])
            elif before := _FIRST.fullmatch(remark):
                first = before[1]
            elif program := _ONLY.fullmatch(remark):
                reason = reason if shutil.which(program[1]) else f"there is no {program[1]}"
            elif why := _REASON.fullmatch(remark):
                reason = why[1]
            else:
                raise ValueError(f"{remark!r} does not fit the block after it:\n{code}")
        end = match.end()
        yield Snippet(match["language"], text.count("\n", 0, match.start()) + 1, code, first, reason)


def starts_with(text: str) -> list[str]:
    """What a page needs of the prepared folder."""
    found = _START.search(text)
    return found[1].split() if found and found[1] != "nothing" else []


def run_shell(code: str) -> None:
    """Run lines of shell. A plain `etpick` command runs in this process, which saves seconds each time."""
    simple = [line for line in code.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    if not all(_is_plain(line) for line in simple):
        subprocess.run(["bash", "-euc", code], check=True)
        return
    for line in simple:
        words = shlex.split(line, comments=True)[1:]
        arguments = [
            path for word in words for path in (sorted(map(str, Path().glob(word))) if "*" in word else [word])
        ]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, f"{line}\n{result.output}\n{result.exception}"


def _is_plain(line: str) -> bool:
    command = line.split(" #")[0]
    return command.startswith("etpick ") and not _SHELL & set(re.sub(r"\w+=[\d.]+", "", command))


def run_python(code: str, name: str, names: dict[str, Any]) -> None:
    """Run Python with the names that the page's earlier blocks left."""
    exec(compile(code, name, "exec"), names)


def run_page(path: Path, page: str) -> None:
    """Run a page's blocks in the present folder."""
    names: dict[str, Any] = {}
    for snippet in snippets(page):
        if snippet.reason or snippet.language in SHOWN:
            continue
        if snippet.first:
            run_shell(snippet.first)
        if snippet.language == "bash":
            run_shell(snippet.code)
        else:
            run_python("\n" * snippet.line + snippet.code, str(path), names)
