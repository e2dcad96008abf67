"""What the documentation shows runs as it stands."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from snippets import SHOWN, run_page, run_shell, snippets, starts_with

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Three small tomograms, two with picks beside them; project file, model and picks of the third; its truth."""
    folder = tmp_path_factory.mktemp("prepared")
    before = Path.cwd()
    os.chdir(folder)
    try:
        run_shell("etpick simulate tomograms --count 3 --shape 48 96 96 --seed 1")
        for old, new in (("tomo_000", "t10"), ("tomo_001", "t11"), ("tomo_002", "t12")):
            _rename(folder / "tomograms", old, new)
        (folder / "truth").mkdir()
        (folder / "tomograms" / "t12.csv").rename(folder / "truth" / "t12.csv")
        run_shell(
            "etpick init tomograms --diameter ribosome=280 --diameter proteasome=150\n"
            "etpick train project.toml --out model --steps 20 --validations 1 --patch 24 --batch 4\n"
            "etpick pick model tomograms/t12.mrc --out picks --min-score 0"
        )
    finally:
        os.chdir(before)
    return folder


def _rename(folder: Path, old: str, new: str) -> None:
    """A simulated tomogram and its truth under another name."""
    (folder / f"{old}_occupancy.npz").unlink()
    (folder / f"{old}.mrc").rename(folder / f"{new}.mrc")
    truth = folder / f"{old}.csv"
    (folder / f"{new}.csv").write_text(truth.read_text().replace(old, new))
    truth.unlink()


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_page_runs_from_top_to_bottom(path, prepared, tmp_path, monkeypatch):
    page = path.read_text(encoding="utf-8")
    for name in starts_with(page):
        source = prepared / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name)
        else:
            shutil.copy(source, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    run_page(path, page)


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_block_says_what_it_is_and_none_hides(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"^ +(```|~~~)", text, re.MULTILINE), "an indented block is not run"
    if path.name not in ("benchmarks.md", "trials.md"):  # hours, over data that only developers have
        assert not re.search(r"^ {4}(etpick|python|pip|make) ", text, re.MULTILINE), "an indented block is not run"
    for snippet in snippets(text):
        assert snippet.language in SHOWN | {"bash", "python"}, f"{path.name}:{snippet.line}"


def test_a_block_that_fails_fails_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError, match="no-such-file"):
        run_page(Path("page.md"), "```bash\netpick info no-such-file.mrc\n```\n")
    with pytest.raises(ZeroDivisionError):
        run_page(Path("page.md"), "```python\n1 / 0\n```\n")


def test_remarks_replace_and_skip_and_must_fit():
    page = '<!-- snippet: instead of "20" use "1" -->\n```bash\nwait 20\n```\n```bash\nwait 20\n```\n'
    assert [s.code for s in snippets(page)] == ["wait 1\n", "wait 20\n"]
    (skipped,) = snippets("<!-- snippet: not run, because it takes a day -->\n```python\nrun()\n```\n")
    assert skipped.reason == "it takes a day"
    with pytest.raises(ValueError, match="does not fit"):
        list(snippets('<!-- snippet: instead of "30" use "1" -->\n```bash\nwait 20\n```\n'))
