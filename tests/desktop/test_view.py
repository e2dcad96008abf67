"""The scripts for ChimeraX, ArtiaX and 3dmod, held against what their documentation says; none of them is run here."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import imodmodel
import numpy as np
import pytest
from click.testing import CliRunner, Result
from desktop_sample import SPACING_A, write_tomogram

from etpick.cli import main
from etpick.desktop import view
from etpick.errors import ExternalError, InputError, OutputError
from etpick.io.picks import read_picks
from etpick.types import Particles

CHIMERAX = re.compile(
    r"#.*"
    r'|open "/[^"]+"( format (mrc|motl))?'
    r"|volume #1 originIndex 0,0,0 voxelSize [\d.]+ step 1 style image"
    r"|volume #1 orthoplanes xyz positionPlanes \d+,\d+,\d+"
    r"|marker #\d+ position [-\d.]+,[-\d.]+,[-\d.]+ color #[0-9a-f]{6} radius [\d.]+"
    r'|rename #\d+ "[^"]+"'
    r"|transparency #\d+(,\d+)* \d+ target a"
    r"|view orient"
)
"""Every line, as the user guide and volumecommand.py of ChimeraX have it."""

ARTIAX = re.compile(
    r"artiax start"
    r'|artiax open tomo "/[^"]+"'
    r"|artiax tomo #1\.1\.1 pixelSize [\d.]+"
    r'|open "/[^"]+\.em" format motl'
    r"|artiax particles #1\.2\.\d+ originScaleFactor [\d.]+ transScaleFactor [\d.]+ radius [\d.]+ color #[0-9a-f]{6}"
    r"|artiax view xy"
)
"""Every line, as ArtiaX registers its commands in src/cmd/cmd.py."""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["view", *map(str, arguments)])


@pytest.mark.usefixtures("project")
def test_chimerax_gets_spheres_at_the_index_times_the_spacing(
    tmp_path: Path, tomogram: Path, picks: Path, particles: Particles
) -> None:
    result = run(tomogram, picks, "--with", "chimerax", "--print", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    script = tmp_path / "out" / "t_1.cxc"
    assert f"chimerax {script}" in result.output and f"wrote {script}" in result.output
    lines = script.read_text().splitlines()
    assert not [line for line in lines if not CHIMERAX.fullmatch(line)]
    assert f'open "{tomogram.resolve()}"' in lines
    assert "marker #102 position 302.5000,102.5000,50.0000 color #0000ff radius 140" in lines
    assert "marker #101 position 90.0000,80.0000,70.0000 color #00ff00 radius 75" in lines
    assert 'rename #101 "proteasome"' in lines and "transparency #101,102 50 target a" in lines
    assert "volume #1 originIndex 0,0,0 voxelSize 10 step 1 style image" in lines
    assert "volume #1 orthoplanes xyz positionPlanes 20,15,10" in lines
    back = read_picks(script)
    np.testing.assert_allclose(back.positions, particles.positions, atol=1e-5)
    assert list(back.classes) == list(particles.classes) and back.spacing_A == SPACING_A


@pytest.mark.usefixtures("project")
def test_artiax_gets_a_motive_list_of_each_class(
    tmp_path: Path, tomogram: Path, picks: Path, particles: Particles
) -> None:
    result = run(tomogram, picks, "--with", "artiax", "--print", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    lines = (tmp_path / "out" / "t_1_artiax.cxc").read_text().splitlines()
    assert not [line for line in lines if not ARTIAX.fullmatch(line)]
    lists = [line.split('"')[1] for line in lines if line.startswith("open ")]
    assert [Path(name).name for name in lists] == ["t_1_proteasome.em", "t_1_ribosome.em"]
    assert "artiax particles #1.2.2 originScaleFactor 10 transScaleFactor 10 radius 140 color #0000ff" in lines
    np.testing.assert_allclose(read_picks(lists[1]).positions, particles.positions[[0, 2]], atol=1e-4)


@pytest.mark.usefixtures("project")
def test_3dmod_gets_a_model_with_radii_and_colours(
    tmp_path: Path, tomogram: Path, picks: Path, particles: Particles
) -> None:
    result = run(tomogram, picks, "--with", "3dmod", "--print", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    path = tmp_path / "out" / "t_1.mod"
    assert f"3dmod {tomogram.resolve()} {path}" in result.output
    with np.errstate(all="ignore"):
        model = imodmodel.ImodModel.from_file(path)
    headers = [item.header for item in model.objects]
    assert [(h.name, h.pdrawsize, (h.red, h.green, h.blue)) for h in headers] == [
        ("proteasome", 8, (0, 1, 0)),
        ("ribosome", 14, (0, 0, 1)),
    ]
    assert sorted(map(tuple, read_picks(path).positions)) == sorted(map(tuple, particles.positions))


def test_diameters_may_be_given_and_unknown_ones_are_said(tmp_path: Path, tomogram: Path, picks: Path) -> None:
    arguments = (tomogram, picks, "--with", "chimerax", "--print", "--diameter", "ribosome=300")
    result = run(*arguments, "--out", tmp_path / "out")
    assert "nothing tells the diameter of proteasome: drawn 200 Å wide" in result.output
    assert "radius 150" in (tmp_path / "out" / "t_1.cxc").read_text()
    again = run(*arguments, "--out", tmp_path / "out")
    assert again.exit_code == 1 and "t_1.cxc exists: add --overwrite" in again.output
    assert run(*arguments, "--out", tmp_path / "out", "--overwrite").exit_code == 0


def test_several_pick_files_are_shown_together_and_those_of_another_tomogram_refused(
    tmp_path: Path, tomogram: Path, picks: Path
) -> None:
    (tmp_path / "t_1_more.coords").write_text("membrane 1 2 3\n")
    shown = view.prepare(tomogram, [picks, tmp_path / "t_1_more.coords"], viewer="napari")
    assert sorted(set(shown.scene.particles.classes)) == ["membrane", "proteasome", "ribosome"]
    assert len(shown.scene.particles) == 4 and not shown.files
    (tmp_path / "other_9.coords").write_text("membrane 1 2 3\n")
    with pytest.raises(InputError, match=r"other_9\.coords has no picks of t_1"):
        view.prepare(tomogram, [tmp_path / "other_9.coords"], viewer="napari")
    finer = tmp_path / "t_1_fine.csv"
    finer.write_text("class,x,y,z,spacing_A\na,1,2,3,5\n")
    with pytest.raises(InputError, match=r"for voxels of 5 Å and t_1 has 10 Å.* convert --bin"):
        view.prepare(tomogram, [finer], viewer="napari")


def test_orientations_of_several_pick_files_are_kept(tmp_path: Path, tomogram: Path) -> None:
    files = [tmp_path / f"t_1_{name}.csv" for name in ("a", "b")]
    for number, file in enumerate(files):
        file.write_text(f"class,x,y,z,rot,tilt,psi\nribosome,1,2,{number},10,20,{number}\n")
    shown = view.prepare(tomogram, files, viewer="napari").scene.particles
    assert shown.angles is not None and shown.angles[:, 2].tolist() == [0, 1]


def test_a_tomogram_alone_and_formats_that_a_program_does_not_read(tmp_path: Path, tomogram: Path) -> None:
    shown = view.prepare(tomogram, viewer="chimerax", out=tmp_path / "out")
    assert "marker" not in shown.files[0].read_text() and "transparency" not in shown.files[0].read_text()
    array = tmp_path / "t.npy"
    np.save(array, np.zeros((5, 6, 7), dtype=np.float32))
    with pytest.raises(InputError, match=r"ChimeraX does not read t\.npy: .* --with napari"):
        view.prepare(array, viewer="chimerax", spacing_A=10.0)
    quoted = write_tomogram(tmp_path / 'a"b' / "t.mrc")
    with pytest.raises(OutputError, match="double quote"):
        view.prepare(quoted, viewer="artiax", out=tmp_path / "out")


def test_the_first_that_is_installed_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "installed", lambda viewer: viewer in ("3dmod", "chimerax"))
    assert view.choose(None) == "chimerax" and view.choose("artiax") == "artiax"
    monkeypatch.setattr(view, "installed", lambda viewer: False)
    with pytest.raises(ExternalError, match=r"no viewer is installed\. napari: pip install 'etpick\[napari\]'; chim"):
        view.choose(None)


def test_the_program_is_started_with_the_script_and_its_failure_told(
    tmp_path: Path, tomogram: Path, picks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program of that name on PATH, which notes what it is given."""
    program = tmp_path / "bin" / "chimerax"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/given\nexit $(cat {tmp_path}/code)\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "code").write_text("0")
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    assert run(tomogram, picks, "--with", "chimerax", "--out", tmp_path / "a").exit_code == 0
    assert (tmp_path / "given").read_text().strip() == str(tmp_path / "a" / "t_1.cxc")
    (tmp_path / "code").write_text("3")
    failed = run(tomogram, picks, "--with", "chimerax", "--out", tmp_path / "b")
    assert failed.exit_code == 1 and "chimerax ended with an error (3)" in failed.output
    program.unlink()
    missing = run(tomogram, picks, "--with", "chimerax", "--out", tmp_path / "c")
    assert missing.exit_code == 1 and "chimerax is not installed: install ChimeraX" in missing.output
    assert f"what it needs is written: {tmp_path / 'c' / 't_1.cxc'}" in missing.output
