"""The container recipes, as far as that goes without an engine: linted, and what they copy exists."""

import json
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "containers" / "Dockerfile"
DEFINITION = ROOT / "containers" / "etpick.def"
SECTIONS = {"arguments", "files", "post", "environment", "runscript", "test", "labels", "help"}


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n", " ", DOCKERFILE.read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def definition() -> tuple[dict[str, str], dict[str, list[str]]]:
    header, *parts = re.split(r"^%", DEFINITION.read_text(), flags=re.MULTILINE)
    sections = {part.split("\n", 1)[0].strip(): part.split("\n", 1)[1].strip().splitlines() for part in parts}
    lines = [line.split(": ") for line in header.splitlines() if line and not line.startswith("#")]
    return dict(lines), {name: [line.strip() for line in body] for name, body in sections.items()}


def test_hadolint_finds_nothing():
    linter = shutil.which("hadolint", path=Path(sys.executable).parent)
    if linter is None:
        pytest.skip("hadolint comes from its registry for Linux on x86-64 alone")
    result = subprocess.run([linter, DOCKERFILE], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_what_the_image_copies_exists_and_is_not_ignored():
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [name for word, rest in instructions() if word == "COPY" for name in rest.split()[:-1]]
    assert {"pyproject.toml", "src"} <= set(copied)
    for name in copied:
        assert (ROOT / name).exists()
        assert any(fnmatch(name, pattern) for pattern in kept)


def test_the_image_runs_etpick_with_the_arguments_it_gets():
    commands = dict(instructions())
    assert json.loads(commands["ENTRYPOINT"]) == ["etpick"]
    assert json.loads(commands["CMD"]) == ["--help"]
    assert re.fullmatch(r"python:3\.\d+-slim", commands["FROM"])


def test_both_recipes_begin_from_the_same_image():
    header, _ = definition()
    assert header == {"Bootstrap": "docker", "From": dict(instructions())["FROM"]}


def test_the_apptainer_definition_is_made_of_known_sections_and_existing_files():
    _, sections = definition()
    assert set(sections) <= SECTIONS
    assert sections["runscript"] == ['exec etpick "$@"']
    for line in sections["files"]:
        source, _, target = line.partition(" ")
        assert (ROOT / source).exists()
        assert target == f"/build/{source}"


@pytest.mark.parametrize("name", ["post", "environment", "runscript", "test"])
def test_the_shell_in_the_definition_is_valid(name):
    _, sections = definition()
    subprocess.run(["sh", "-n"], input="\n".join(sections[name]), text=True, check=True)
