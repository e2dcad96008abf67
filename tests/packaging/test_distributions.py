"""Wheel and sdist: what they hold, that they install and work in an environment of their own, and what they pull."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CLEAN = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


def run(*command, **options):
    result = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, env=CLEAN, **options
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def wheel_of(source: Path, target: Path) -> Path:
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", target, cwd=source)
    (wheel,) = target.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return wheel_of(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def clean(tmp_path_factory, wheel) -> Path:
    """The folder of commands of an environment with the wheel alone; what it needs is seen through a .pth file.

    So PyTorch is not fetched again. The source that these tests run from is not seen: files of that kind in a
    folder that such a file names are passed over, and PYTHONPATH is unset.
    """
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    (site,) = folder.glob("lib/python*/site-packages")
    ours = Path(pytest.__file__).parents[1]
    (site / "dependencies.pth").write_text(f"{ours}\n")
    return folder / "bin"


def test_the_wheel_holds_code_types_templates_and_licence_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    source = {
        str(p.relative_to(ROOT / "src"))
        for p in (ROOT / "src" / "etpick").rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    assert {name for name in names if ".dist-info/" not in name} == source
    assert "etpick/report/templates/report.html" in names
    assert "etpick/py.typed" in names
    assert any(name.endswith("LICENSE") for name in names)


def test_the_wheel_of_the_sdist_is_the_same(wheel, tmp_path):
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path, cwd=ROOT)
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    unpacked = tmp_path / sdist.name.removesuffix(".tar.gz")
    assert {"tests", "docs", "benchmarks", "containers", "mkdocs.yml", "constraints.txt"} <= {
        p.name for p in unpacked.iterdir()
    }
    again = wheel_of(unpacked, tmp_path / "wheel")
    assert _contents(again) == _contents(wheel)


def _contents(wheel: Path) -> dict[str, int]:
    return {info.filename: info.CRC for info in zipfile.ZipFile(wheel).infolist()}


def test_the_installed_wheel_works_away_from_the_source(clean, tmp_path):
    place = run(clean / "python", "-c", "import etpick; print(etpick.__file__)", cwd=tmp_path)
    assert Path(place.strip()).is_relative_to(clean.parent)
    assert re.fullmatch(r"etpick, version \d+\.\d+\.\d+\n", run(clean / "etpick", "--version"))
    run(clean / "etpick", "simulate", "raw", "--count", 1, "--shape", 32, 48, 48, cwd=tmp_path)
    assert (tmp_path / "raw" / "tomo_000.mrc").stat().st_size > 32 * 48 * 48
    told = json.loads(run(clean / "etpick", "doctor", "--json", cwd=tmp_path))
    assert told["works"]
    extras = {f["topic"] for f in told["findings"] if f["topic"].startswith("extra ")}
    assert extras == {f"extra {name}" for name in PROJECT["optional-dependencies"]}


def test_the_installed_report_finds_its_template(clean, tmp_path):
    code = "from jinja2 import PackageLoader as L; print(L('etpick.report', 'templates').list_templates())"
    assert "report.html" in run(clean / "python", "-c", code, cwd=tmp_path)


def test_no_extra_asks_for_cuda_or_another_pytorch(wheel):
    """Resolved all together against what is installed here, where PyTorch is the build for the processor."""
    extras = ",".join(PROJECT["optional-dependencies"])
    command = ("-m", "pip", "install", "--dry-run", "--quiet", "--report", "-", f"etpick[{extras}] @ {wheel.as_uri()}")
    report = json.loads(run(sys.executable, *command))
    names = {item["metadata"]["name"].lower() for item in report["install"]}
    assert "etpick" in names
    assert not {name for name in names if name.startswith(("torch", "nvidia", "cuda", "triton", "cupy"))}


def test_the_documentation_names_every_package_that_is_pulled(wheel):
    """The lists of docs/install.md, made by benchmarks/install_sizes.py."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        from install_sizes import closure
    finally:
        sys.path.pop(0)
    page = (ROOT / "docs" / "install.md").read_text()
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith("METADATA"))
        requirements = Parser().parsestr(archive.read(metadata).decode()).get_all("Requires-Dist")
    assert requirements
    pulled = closure(requirements)
    (said,) = re.findall(r"The (\d+) packages: ([^.]+)\.", page)
    assert pulled <= set(re.split(r",\s+", said[1]))
    assert int(said[0]) == len(set(re.split(r",\s+", said[1])))
    assert all(f"`etpick[{extra}]`" in page for extra in PROJECT["optional-dependencies"])
