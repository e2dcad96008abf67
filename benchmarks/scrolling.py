"""Slices a second of `etpick serve` in a real browser over loopback, and the server's memory.

A tomogram of 300×1000×1000 float32 voxels (noise, memory-mapped) is scrolled through slice by slice: the next step is
taken when the last slice has been drawn. Once as it is, once backwards over slices the browser remembers, and once
with each filter, always over slices not asked for before.

python benchmarks/scrolling.py [--chromium /usr/bin/chromium]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

from common import keep
from etpick.io.mrc import write_mrc
from etpick.io.project_edit import new_project
from etpick.types import ParticleClass

SHAPE = (300, 1000, 1000)
STEPS = 100
FILTERS = {
    "as it is": "", "average over 5 slices": "&slab=2", "Gaussian of 1.5 voxels": "&sigma=1.5",
    "low-pass at 60 Å": "&lowpass=60", "equalised": "&equalise=true",
}  # fmt: skip
FILTER = """(query) => {
  const viewer = document.querySelector('.etpick-viewer').viewer;
  viewer.address = (axis, index) => `/slices/${viewer.tomogram}/${axis}/${index}?black=0.5&white=99.5${query}`;
  viewer.abandon();
  viewer.request();
}"""
SCROLL = """async ([first, last]) => {
  const viewer = document.querySelector('.etpick-viewer').viewer, canvas = document.querySelector('.etpick-xy');
  const step = Math.sign(last - first);
  const drawn = (z) => new Promise((done) => {
    const look = () => Number(canvas.dataset.slice) === z ? done() : requestAnimationFrame(look);
    look();
  });
  viewer.goSlice(first); await drawn(first);
  const began = performance.now();
  for (let z = first + step; z !== last + step; z += step) { viewer.goSlice(z); await drawn(z); }
  return Math.abs(last - first) / (performance.now() - began) * 1000;
}"""


def make(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    write_mrc(folder / "large.mrc", rng.standard_normal(SHAPE, dtype=np.float32), 10.0)
    new_project(folder / "project.toml", [folder / "large.mrc"], [ParticleClass("ribosome", 280.0)], "complete")
    return folder / "project.toml"


def anonymous_gb(pid: int) -> float:
    """Memory of a process that is its own: what is mapped from the tomogram's file can be given back at any time."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1e6


def scroll(page: Page) -> dict[str, float]:
    rates = {}
    for name, query in FILTERS.items():
        page.evaluate(FILTER, query)
        rates[name] = page.evaluate(SCROLL, [20, 20 + STEPS])
        if not query:
            rates["back over what is remembered"] = page.evaluate(SCROLL, [20 + STEPS, 20 + STEPS - 40])
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--port", type=int, default=8471)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        project = make(Path(name))
        command = [sys.executable, "-m", "etpick.cli", "serve", str(project), "--port", str(args.port)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as playwright:
            assert server.stdout is not None
            url = next(line.split()[1] for line in server.stdout if line.startswith("open "))
            browser = playwright.chromium.launch(executable_path=args.chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(url)
            page.goto(url.split("?")[0] + "annotate")
            page.wait_for_selector(".etpick-xy[data-slice]")
            before = anonymous_gb(server.pid)
            rates = scroll(page)
            after = anonymous_gb(server.pid)
            browser.close()
            server.terminate()
    memory = {"before_gb": before, "after_gb": after}
    keep("scrolling", {"protocol": __doc__, "slices_per_second": rates, "server_memory": memory})


if __name__ == "__main__":
    main()
