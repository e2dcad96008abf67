"""What `pip install etpick` and each extra bring: packages and megabytes on disk, measured in this environment.

Prints the table of docs/install.md. Everything must be installed here: pip install -e '.[bench,dev,docs,napari]'.
"""

import argparse
import json
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

MB = 1e6


def closure(requirements: Iterable[str], extras: Iterable[str] = ()) -> set[str]:
    """Names of all packages that these requirements bring, their own requirements included.

    `extras` are those asked for of the package whose requirements these are. Raises PackageNotFoundError.
    """
    found: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    queue = _active(requirements, extras)
    while queue:
        requirement = queue.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key not in seen:
            seen.add(key)
            found.add(key[0])
            queue += _active(distribution(requirement.name).requires or [], requirement.extras)
    return found


def _active(requirements: Iterable[str], extras: Iterable[str]) -> list[Requirement]:
    """Those that apply on this machine, with these extras."""
    parsed = map(Requirement, requirements)
    contexts = [{"extra": extra} for extra in ("", *extras)]
    return [r for r in parsed if r.marker is None or any(r.marker.evaluate(context) for context in contexts)]


def size_MB(name: str) -> float:
    """Megabytes of a package's files on disk."""
    installed = distribution(name)
    paths = (Path(str(installed.locate_file(file))) for file in installed.files or [])
    return sum(path.stat().st_size for path in paths if path.is_file()) / MB


def rows() -> list[dict[str, object]]:
    """One row for etpick and one for what each extra adds to it."""
    etpick = distribution("etpick")
    requirements = etpick.requires or []
    base = closure(requirements)
    out = [row("`etpick`", base), row("of which PyTorch", closure(["torch"]))]
    for extra in sorted(etpick.metadata.get_all("Provides-Extra") or []):
        try:
            out.append(row(f"`etpick[{extra}]` adds", closure(requirements, [extra]) - base))
        except PackageNotFoundError as missing:
            raise SystemExit(f"{missing.name} is not installed here: pip install -e '.[{extra}]'") from None
    return out


def row(what: str, packages: set[str]) -> dict[str, object]:
    return {"install": what, "packages": len(packages), "MB": round(sum(map(size_MB, packages)))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the rows here")
    options = parser.parse_args()
    table = rows()
    print("| install | packages | MB on disk |\n|---|---|---|")
    for line in table:
        print(f"| {line['install']} | {line['packages']} | {line['MB']:,} |")
    everything = sorted(closure(distribution("etpick").requires or []))
    print(f"\nThe {len(everything)} packages: {', '.join(everything)}.")
    if options.json:
        options.json.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
