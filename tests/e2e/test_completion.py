"""Tab in three shells completes commands, options and choices."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from etpick.cli import main


@pytest.fixture
def with_etpick(tmp_path, monkeypatch):
    """An `etpick` on PATH that is this source."""
    command = tmp_path / "etpick"
    code = "from etpick.cli import main; main(prog_name='etpick')"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}" "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def script(shell: str) -> str:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0, result.output
    return result.output


def run(shell: str, code: str) -> str:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    return subprocess.run([shell, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(("typed", "offered"), [("tra", "train"), ("pick --sl", "--slab --slab-margin")])
def test_bash_completes_a_command_and_options(with_etpick, typed, offered):
    words = ["etpick", *typed.split()]
    code = f"""{script("bash")}
COMP_WORDS=({" ".join(words)}); COMP_CWORD={len(words) - 1}
_etpick_completion etpick; echo "${{COMPREPLY[@]}}" """
    assert run("bash", code).split() == offered.split()


def test_zsh_and_fish_accept_their_scripts(tmp_path: Path):
    for shell in ("zsh", "fish"):
        file = tmp_path / shell
        file.write_text(script(shell))
        run(shell, f"{shell} -n {file}")


def test_fish_completes(with_etpick):
    assert "train" in run("fish", script("fish") + "\ncomplete --do-complete 'etpick tra'")


def test_another_shell_is_refused_with_those_there_are():
    result = CliRunner().invoke(main, ["completion", "csh"])
    assert result.exit_code == 2
    assert "bash" in result.output
