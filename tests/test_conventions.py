"""docs/conventions.md holds what the code does: run this file to write its table and examples anew."""

import re
import tempfile
from pathlib import Path

import emfile
import imodmodel
import numpy as np
import pytest

from etpick.io.formats.base import PickFormat
from etpick.io.formats.registry import BY_NAME
from etpick.io.picks import read_picks, write_picks
from etpick.orientation import rotation_of
from etpick.types import Particles

PAGE = Path(__file__).parents[1] / "docs" / "conventions.md"
SHAPE = (151, 464, 480)
PARTICLE = Particles(
    np.array([[12.25, 40.5, 100.75]]),
    np.array(["ribosome"]),
    np.array([0.875]),
    angles=np.array([[30.0, 60.0, -45.0]]),
    spacing_A=10.0,
    tomogram="TS_01",
)
AS_IT_STANDS, FROM_ONE, EDGE, ANGSTROM = (
    ("100.75", "12.25"),
    ("101.75 - 1", "13.25 - 1"),
    ("101.25 - 0.5", "12.25"),
    ("1007.5 / 10", "122.5 / 10"),
)
ARITHMETIC = {
    "csv": AS_IT_STANDS,
    "relion4": AS_IT_STANDS,
    "relion5": ("-1392.5 / 10 + 480 / 2", "-632.5 / 10 + 151 / 2"),
    "warp": AS_IT_STANDS,
    "coords": AS_IT_STANDS,
    "deepetpicker": AS_IT_STANDS,
    "dynamo": FROM_ONE,
    "imod": EDGE,
    "imod-text": EDGE,
    "peet": EDGE,
    "copick": ANGSTROM,
    "eman2": ("-139.25 * 10 / 10 + 480 // 2", "-62.75 * 10 / 10 + 151 // 2"),
    "eman2-box": AS_IT_STANDS,
    "artiax": FROM_ONE,
    "chimerax": ANGSTROM,
    "deepfinder": AS_IT_STANDS,
    "portal": AS_IT_STANDS,
}
"""How x and z follow from the numbers in the file: evaluated below, and printed on the page."""


def written(folder: Path, form: PickFormat) -> Path:
    path = folder / form.name / f"TS_01{form.suffixes[0]}"
    return write_picks(path, PARTICLE, tomogram_shape=SHAPE, style=form.name)


def shown(path: Path, form: PickFormat) -> str:
    """The text of a file, or the numbers in one that is not text."""
    return _text(path) + "".join(_text(path.with_suffix(suffix)) for suffix in form.beside)


def _text(path: Path) -> str:
    if path.suffix == ".mod":
        frame = imodmodel.read(path)
        return f"(the points in {path.name}: {' '.join(f'{v:g}' for v in frame[['x', 'y', 'z']].iloc[0])})\n"
    if path.suffix == ".em":
        return "(20 numbers) " + " ".join(f"{value:g}" for value in emfile.read(path)[1].ravel()) + "\n"
    title = f"(beside it, {path.name}:)\n" if path.suffix == ".doc" else ""
    lines = (line.rstrip() for line in path.read_text(encoding="utf-8").strip().splitlines())
    return title + "\n".join(lines) + "\n"


def table() -> str:
    columns = ("class names", "class numbers", "scores", "angles", "spacing", "tomogram")
    lines = [
        "| `--from`, `--to` | program | ending | position | class | score | angles | Å per voxel | tomogram |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for form in BY_NAME.values():
        names, numbers, *rest = (column in form.holds for column in columns)
        kept = ["name" if names else "number" if numbers else "–", *("yes" if there else "–" for there in rest)]
        endings = ", ".join(f"`{suffix}`" for suffix in (*form.suffixes, *form.beside))
        lines.append(f"| `{form.name}` | {form.title} | {endings} | {form.positions} | {' | '.join(kept)} |")
    return "\n".join(lines) + "\n"


def example(folder: Path) -> str:
    parts = []
    for form in BY_NAME.values():
        x, z = (text.replace("-", "−").replace("*", "·") for text in ARITHMETIC[form.name])
        text = shown(written(folder, form), form)
        parts.append(f"### {form.title} (`{form.name}`)\n\n```text\n{text}```\n\nx = {x}, z = {z}\n")
    return "\n".join(parts)


def between(page: str, marker: str) -> str:
    found = re.search(rf"<!-- {marker} -->\n(.*?)<!-- end -->", page, re.DOTALL)
    assert found is not None, f"docs/conventions.md lost its marker {marker}"
    return found[1].strip()


def test_the_table_is_the_code_s() -> None:
    assert between(PAGE.read_text(encoding="utf-8"), "formats") == table().strip()


def test_the_examples_are_what_is_written(tmp_path: Path) -> None:
    assert between(PAGE.read_text(encoding="utf-8"), "example") == example(tmp_path).strip()


@pytest.mark.parametrize("name", BY_NAME)
def test_the_centre_is_the_same_voxel(tmp_path: Path, name: str) -> None:
    form = BY_NAME[name]
    path = written(tmp_path, form)
    text = shown(path, form)
    for expression, expected in zip(ARITHMETIC[name], (100.75, 12.25), strict=True):
        assert expression.split()[0] in text  # the number that stands in the file
        assert eval(expression) == expected
    read = read_picks(path, style=name, spacing_A=10.0, shape=SHAPE)
    np.testing.assert_allclose(read.positions, PARTICLE.positions, atol=1e-5)
    if "angles" in form.holds:
        assert read.angles is not None and PARTICLE.angles is not None
        turned = rotation_of(read.angles).inv() * rotation_of(PARTICLE.angles)
        assert np.rad2deg(turned.magnitude()).max() < 1e-3


def _renew() -> None:
    page = PAGE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        for marker, text in (("formats", table()), ("example", example(Path(folder)))):
            block = f"<!-- {marker} -->\n\n{text}\n<!-- end -->"
            page = re.sub(rf"<!-- {marker} -->\n.*?<!-- end -->", lambda _, block=block: block, page, flags=re.DOTALL)
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    _renew()
