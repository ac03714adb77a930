"""The interpreter, its packages, and the versions that were tested together."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.doctor.finding import absent, ok, problem, warning
from edge_runtime.ownership import DISTRIBUTION, HOME
from edge_runtime.telemetry.sysfs import read_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from edge_runtime.doctor.finding import Finding
    from edge_runtime.doctor.machine import Machine

LEAST = (3, 10)
SYSTEM_PYTHON = "/usr/bin/python3"
PINS = HOME / "constraints" / "pinned.txt"
"""Only a checkout has them."""
RIVALS = (
    ("opencv-python", "opencv-python-headless", "opencv-contrib-python",
     "opencv-contrib-python-headless"),
    ("onnxruntime", "onnxruntime-gpu"),
)  # fmt: skip
"""Distributions that install the same package over each other."""
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*([^;]*)")
_CLAUSE = re.compile(r"(>=|<=|==|!=|<|>)\s*([0-9.]+)")


def check_interpreter(machine: Machine) -> Iterator[Finding]:
    """Its version, and that it is the one GStreamer's bindings were built for."""
    python = machine.python
    number = ".".join(map(str, python.version))
    seen = f"Python {number}, {python.executable}"
    if python.version[:2] < LEAST:
        yield problem("python.interpreter", seen, "3.10 or newer", "scripts/setup")
        return
    yield ok("python.interpreter", seen)
    yield from _check_system(machine)
    if not python.in_venv:
        yield warning(
            "python.environment", "no virtual environment", "one of its own",
            f"{SYSTEM_PYTHON} -m venv --system-site-packages .venv",
        )  # fmt: skip
        return
    settings = read_text(Path(python.prefix) / "pyvenv.cfg") or ""
    shares = re.search(r"^include-system-site-packages\s*=\s*true", settings, re.M | re.I)
    seen = f"{python.prefix}, {'with' if shares else 'without'} the system's packages"
    if shares:
        yield ok("python.environment", seen)
    else:
        yield problem(
            "python.environment", seen,
            "with them: GStreamer's bindings and TensorRT's are the system's",
            f"{SYSTEM_PYTHON} -m venv --system-site-packages --clear {python.prefix} && "
            "scripts/setup",
        )  # fmt: skip


def _check_system(machine: Machine) -> Iterator[Finding]:
    """Compiled bindings load in one minor version of CPython only."""
    folder = machine.path("usr/lib/python3/dist-packages/gi")
    built = [
        (int(match[1]), int(match[2]))
        for path in folder.glob("_gi.cpython-*.so")
        if (match := re.match(r"_gi\.cpython-(\d)(\d+)", path.name))
    ]
    if not built:
        return
    here = machine.python.version[:2]
    names = ", ".join(f"{major}.{minor}" for major, minor in sorted(built))
    if here in built:
        yield ok("python.bindings-version", f"the system's bindings are for Python {names}")
    else:
        yield problem(
            "python.bindings-version",
            f"Python {here[0]}.{here[1]}; the system's GStreamer bindings are for {names}",
            "the distribution's own Python",
            f"{SYSTEM_PYTHON} -m venv --system-site-packages --clear {machine.python.prefix} && "
            "scripts/setup",
        )


def check_packages(machine: Machine) -> Iterator[Finding]:
    """What the runtime requires, what it was tested with, and what overwrites what."""
    yield from check_requirements(machine, _required())
    yield from check_pins(machine, _lines(PINS))
    for names in RIVALS:
        there = [name for name in names if machine.package(name) is not None]
        if len(there) > 1:
            yield warning(
                "packages.rivals", f"{' and '.join(there)} overwrite each other", "one of them",
                f"pip uninstall -y {' '.join(there)} && pip install {names[-1]}"
                if "onnxruntime" in names
                else f"pip uninstall -y {' '.join(there)} && pip install opencv-python-headless",
            )  # fmt: skip


def check_requirements(machine: Machine, required: Iterable[str]) -> Iterator[Finding]:
    """Each requirement without an extra, such as ``click<9,>=8.2``."""
    wrong = count = 0
    for text in required:
        match = _REQUIREMENT.match(text)
        assert match is not None, f"requirement {text!r}"
        name, wanted = match[1], match[2].strip()
        found = machine.package(name)
        count += 1
        if found is None or not fits(found, wanted):
            wrong += 1
            yield problem(
                "packages.required", f"{name} {found or 'is missing'}", f"{name}{wanted}",
                f"pip install '{name}{wanted}'",
            )  # fmt: skip
    if count == 0:
        yield absent("packages.required", f"{DISTRIBUTION} runs uninstalled, from {HOME}")
    elif not wrong:
        yield ok("packages.required", f"all {count} required packages are there")


def check_pins(machine: Machine, pins: Sequence[str]) -> Iterator[Finding]:
    """Versions that differ from those of ``constraints/pinned.txt``, in one finding."""
    if not pins:
        yield absent("packages.pins", "no constraints/pinned.txt: not a checkout")
        return
    here = ".".join(map(str, machine.python.version[:2]))
    differing = []
    for line in pins:
        pin, _, marker = line.partition(";")
        name, _, wanted = pin.strip().partition("==")
        found = machine.package(name)
        if found is None or not _applies(marker, here):
            continue
        if found.partition("+")[0] != wanted:
            differing.append(f"{name} {found} ({wanted})")
    if differing:
        shown = ", ".join(differing[:6]) + (" ..." if len(differing) > 6 else "")
        yield warning(
            "packages.pins", f"{len(differing)} not as tested: {shown}", "the version in brackets",
            f"pip install -c {PINS} {' '.join(text.split()[0] for text in differing)}",
        )  # fmt: skip
    else:
        yield ok("packages.pins", "all versions are those that were tested together")


def fits(version: str, clauses: str) -> bool:
    """Whether a release meets clauses such as ``<9,>=8.2``; numbers alone are compared."""
    return all(_meets(version, sign, bound) for sign, bound in _CLAUSE.findall(clauses))


def _meets(version: str, sign: str, bound: str) -> bool:
    have, want = _numbers(version), _numbers(bound)
    width = max(len(have), len(want))
    have, want = (value + (0,) * (width - len(value)) for value in (have, want))
    return {
        ">=": have >= want, "<=": have <= want, "==": have == want,
        "!=": have != want, "<": have < want, ">": have > want,
    }[sign]  # fmt: skip


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def _applies(marker: str, python: str) -> bool:
    bound = re.search(r"python_version\s*(>=|<)\s*[\"']([0-9.]+)[\"']", marker)
    return bound is None or _meets(python, bound[1], bound[2])


def _required() -> list[str]:
    try:
        return [text for text in requires(DISTRIBUTION) or () if "extra ==" not in text]
    except PackageNotFoundError:
        return []


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]
