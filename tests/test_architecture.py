"""Imports point downward only, and importing etpick is cheap."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "etpick"
LAYERS = [
    {"errors"},
    {"types"},
    {"config", "external", "geometry", "orientation", "pacing", "tiles"},
    {"io", "ops"},
    {"nn", "evaluation", "simulate"},
    {"engine"},
    {"averaging"},
    {"assessment"},
    {"compiled"},
    {"data", "exclusion"},
    {"inference", "hard", "placement", "boxes"},
    {"decision"},
    {"class_averages"},
    {"neighbours"},
    {"checkpoint", "conversion", "doctor", "partial", "preparation", "inspection"},
    {"quantising", "averaging_labels"},
    {"engines"},
    {"learner", "batch", "overview"},
    {"progress", "resumption"},
    {"picking", "judging", "training"},
    {"comparing", "crosschecking", "exporting"},
    {"curation"},
    {"report"},
    {"api", "extraction"},
    {"assessing", "cluster", "demo", "desktop", "jobs"},
    {"serve"},
    {"cli"},
]
RANK = {room: rank for rank, rooms in enumerate(LAYERS) for room in rooms}


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("etpick."):
            rooms.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            rooms |= {n.name.split(".")[1] for n in node.names if n.name.startswith("etpick.")}
    return rooms


MODULES = [p for p in SOURCE.rglob("*.py") if p.name != "__init__.py" or p.parent != SOURCE]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_downward(path: Path) -> None:
    room = room_of(path)
    for other in imported_rooms(path) - {room}:
        assert RANK[other] < RANK[room], f"{room} imports {other}"


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*(m.split('.')[0] for m in sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(out.stdout.split())


def test_importing_etpick_and_its_command_line_loads_nothing_heavy() -> None:
    heavy = {"torch", "scipy", "pandas", "matplotlib", "gemmi", "mrcfile", "jinja2", "napari", "qtpy"}
    assert not heavy & loaded_by("import etpick")
    assert not heavy & loaded_by("import etpick.cli")
