"""Finding RELION: with small scripts in its place, because what matters is what it says and returns."""

from pathlib import Path

import pytest

from etpick.errors import ExternalError
from etpick.external import find_relion


def tool(folder: Path, body: str, name: str = "relion_reconstruct") -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("said", "version"), [("3.1.3 ", (3, 1, 3)), ("4.0.1-commit-ex2309", (4, 0, 1)), ("5.0", (5, 0))]
)
def test_versions_from_3_1_serve(on_path: Path, said: str, version: tuple[int, ...]) -> None:
    tool(on_path, f"echo 'RELION version: {said}'\necho 'Precision: BASE=double'")
    relion = find_relion()
    assert relion.version == version and relion.folder == on_path
    assert relion.has("relion_reconstruct") and not relion.has("relion_refine_mpi")


def test_absent_old_or_unknown_programs_are_told_with_how_to_get_one(on_path: Path) -> None:
    with pytest.raises(
        ExternalError, match=r"relion_reconstruct is not on PATH: install RELION .*apt-get install relion"
    ):
        find_relion()
    tool(on_path, "echo 'RELION version: 3.0.8'")
    with pytest.raises(ExternalError, match=r"is of RELION 3\.0\.8; etpick needs 3\.1 or newer"):
        find_relion()
    tool(on_path, "echo usage")
    with pytest.raises(ExternalError, match="does not say which RELION it is"):
        find_relion()


def test_a_failure_shows_its_last_lines_and_not_the_progress_bar(on_path: Path, tmp_path: Path) -> None:
    bar = "0.02/2.70 min ~~(,_,>"
    tool(
        on_path,
        "echo 'RELION version: 3.1.3'; [ \"$1\" = --version ] && exit 0; "
        f"echo '{bar}'; echo ERROR: no star >&2; exit 3",
    )
    with pytest.raises(ExternalError, match=r"relion_reconstruct failed \(3\)") as caught:
        find_relion().run("relion_reconstruct", ["--i", "x.star"], tmp_path)
    assert str(caught.value).endswith("ERROR: no star") and "~~" not in str(caught.value)
    with pytest.raises(ExternalError, match="relion_refine is not among RELION's tools"):
        find_relion().run("relion_refine", [], tmp_path)


def test_what_it_prints_comes_back_and_paths_count_from_the_folder(on_path: Path, tmp_path: Path) -> None:
    tool(on_path, "echo 'RELION version: 3.1.3'; pwd; echo \"$@\"")
    (tmp_path / "project").mkdir()
    printed = find_relion().run("relion_reconstruct", ["--maxres", 35.0], tmp_path / "project")
    assert printed.splitlines()[1:] == [str(tmp_path / "project"), "--maxres 35.0"]
