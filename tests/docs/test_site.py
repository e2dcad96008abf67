"""What the site makes from the code is complete, and its equations are understood."""

import importlib.util
import re
from pathlib import Path

import pytest

import etpick
from etpick.cli import main
from etpick.config import PickingConfig, TrainingConfig, recipe

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def hooks():
    pytest.importorskip("latex2mathml", reason="the extra `docs` is not installed")
    spec = importlib.util.spec_from_file_location("hooks", DOCS / "hooks.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_option_is_there_with_its_default(hooks):
    page = hooks.configuration()
    for kind in (TrainingConfig, PickingConfig):
        for name in kind.model_fields:
            assert re.search(rf"^\| `{name}` \|", page, re.MULTILINE), name
    fast, paper = recipe("fast"), recipe("paper")
    assert f"| `foreground_weight` | `{fast.foreground_weight}` | `{paper.foreground_weight}` | `float`, > 0 |" in page
    assert f"| `patch_vx` | – | `{paper.patch_vx}` | `int`, ≥ 16 |" in page
    assert "| `path` | must be given | `Path` |" in page
    assert "| `validate` | `False` |" in page


def test_every_command_and_its_options_are_there(hooks):
    page = hooks.commands()
    for name, command in main.commands.items():
        assert f"## etpick {name}\n" in page
        for parameter in command.params:
            assert parameter.opts[0] in page or parameter.param_type_name == "argument"


def test_every_public_name_is_there(hooks):
    for name in etpick.__all__:
        assert f"heading: etpick.{name}\n" in hooks.python()


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")), ids=lambda p: p.name)
def test_equations_become_mathml(hooks, path):
    text = re.sub(r"^```.*?^```$|`[^`\n]+`", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    for block, inline in re.findall(r"\$\$(.+?)\$\$|\$([^$\n]+)\$", text, re.DOTALL):
        shown = hooks.convert(block or inline)
        assert "\\" not in shown, f"not understood: {block or inline}"


def test_pictures_are_small_and_all_shown():
    shown = {
        name for page in DOCS.rglob("*.md") for name in re.findall(r"\]\((?:\.\./)?images/(.+?)\)", page.read_text())
    }
    files = {path.name: path.stat().st_size for path in (DOCS / "images").iterdir()}
    assert shown == set(files)
    assert all(size < 200_000 for name, size in files.items() if name.startswith("tutorial-"))
