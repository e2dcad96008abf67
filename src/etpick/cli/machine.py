"""`etpick doctor` and `etpick completion`: etpick and the machine it runs on."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from etpick.doctor import Finding

_WIDTH = 120  # in columns, where the table goes to a file


@click.command()
@click.option("--json", "as_json", is_flag=True, help="for machines: a list of findings, and whether etpick works")
def doctor(as_json: bool) -> None:
    """Tell what this machine offers, and what is missing for what.

    Versions, graphics card, bfloat16, threads, memory, disk, RELION, Chromium and optional extras. Fails only
    where etpick cannot work.
    """
    from etpick.doctor import examine, works

    findings = examine()
    fine = works(findings)
    if as_json:
        click.echo(json.dumps({"works": fine, "findings": [asdict(f) for f in findings]}, indent=1))
    else:
        _show(findings)
        click.echo("\netpick works here" if fine else "\netpick cannot work here: see the lines marked !")
    if not fine:
        raise click.exceptions.Exit(1)


def _show(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("", "", "found", "remark", box=None, pad_edge=False)
    for finding in findings:
        cells = ("!" if finding.broken else "", finding.topic, finding.found, finding.remark)
        table.add_row(*map(Text, cells), style="bold red" if finding.broken else None)
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH
    console.print(table)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes etpick's commands and options on Tab.

    \b
    bash: etpick completion bash > ~/.local/share/bash-completion/completions/etpick
    zsh:  etpick completion zsh > ~/.etpick-complete.zsh, and in ~/.zshrc: . ~/.etpick-complete.zsh
    fish: etpick completion fish > ~/.config/fish/completions/etpick.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None  # click knows the three
    click.echo(kind(ctx.find_root().command, {}, "etpick", "_ETPICK_COMPLETE").source())
