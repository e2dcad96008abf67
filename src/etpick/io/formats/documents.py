"""JSON documents read, with errors that name the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from etpick.errors import InputError


def read_json(path: Path) -> Any:
    """The content of a JSON file; raises InputError."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}") from error


def has_key(path: Path, key: str) -> bool:
    """Whether a file is a JSON object with a key; False for what cannot be read."""
    try:
        content = read_json(path)
    except InputError:
        return False
    return isinstance(content, dict) and key in content
