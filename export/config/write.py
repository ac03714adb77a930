"""Writing a configuration: complete in its folder, or not at all."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.artifacts import created_by_this_command
from edge_runtime.errors import OptionError

if TYPE_CHECKING:
    from export.config.subject import Plan, Subject

ORIGIN = "hyperseg.json"
"""Says which model the folder is for and what was adapted."""


def origin(subject: Subject, plan: Plan, runtime: str) -> dict[str, Any]:
    """Where the configuration comes from, for people and for scripts."""
    created = created_by_this_command()
    return {
        "runtime": runtime,
        "model": subject.path.name,
        "name": subject.name,
        "sha256": subject.manifest.sha256,
        "license": subject.manifest.license,
        "created_by": {"command": created.command, "version": created.version},
        "files": sorted([*plan.files, *plan.binaries]),
        "notes": plan.notes,
    }


def write_plan(place: Path, subject: Subject, plan: Plan, runtime: str) -> dict[str, Any]:
    """Fill a folder beside `place` and rename it.

    Args:
        place: the folder to appear; must not exist, or be empty.
        subject: whose configuration it is.
        plan: what to write.
        runtime: its name.

    Returns:
        What was written as `ORIGIN`.

    Raises:
        OptionError: the folder has something in it or cannot be written.
    """
    facts = origin(subject, plan, runtime)
    try:
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise OptionError(f"{place} is there already; remove it or choose another -o")
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}.") as aside:
            made = Path(aside) / "made"
            made.mkdir()
            _fill(made, plan)
            text = json.dumps(facts, indent=2, sort_keys=True) + "\n"
            (made / ORIGIN).write_text(text, encoding="utf-8")
            made.replace(place)  # an empty folder gives way
    except OSError as error:
        raise OptionError(
            f"cannot write {place}: {error.strerror or error}; choose another -o"
        ) from error
    return facts


def _fill(folder: Path, plan: Plan) -> None:
    for name, text in plan.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for name, write in plan.binaries.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)
