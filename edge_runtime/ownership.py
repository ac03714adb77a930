"""Whose `training` is it? Our package names are generic; another distribution may install the same.

Python then loads whichever lies first on its path, without a word. Before the command line loads a
stage it makes sure that the stage lies beside this package and that nobody else claims the place.
"""

from __future__ import annotations

from importlib.metadata import distribution, packages_distributions
from importlib.util import find_spec
from pathlib import Path

from edge_runtime.errors import DependencyError

DISTRIBUTION = "hyperseg-edge"
HOME = Path(__file__).resolve().parent.parent
"""Where our packages lie side by side: the checkout, or site-packages."""


def check_owner(package: str, home: Path = HOME) -> None:
    """Make sure that importing `package` loads our own.

    Args:
        package: a top-level name, such as ``training``.
        home: the folder it has to lie in.

    Raises:
        DependencyError: the name is missing, or belongs to another distribution or folder.
    """
    found = _location(package)
    if found is None:
        raise DependencyError(
            f"the package {package!r} is missing from this installation of {DISTRIBUTION}; "
            f"install it anew: pip install --force-reinstall --no-deps {DISTRIBUTION}"
        )
    others = [name for name in _claimants(package) if _lies_in(name, package, found)]
    if others:
        raise DependencyError(
            f"{found} belongs to the distribution {', '.join(others)}, which installs the name "
            f"{package!r} as {DISTRIBUTION} does; give {DISTRIBUTION} a virtual environment of "
            f"its own, or: pip uninstall {' '.join(others)}"
        )
    if found.parent != home:
        raise DependencyError(
            f"importing {package!r} would load {found} instead of {home / package}; rename that "
            "folder, or take it off PYTHONPATH"
        )


def _location(package: str) -> Path | None:
    spec = find_spec(package)
    if spec is None:
        return None
    if spec.origin is not None:
        origin = Path(spec.origin).resolve()
        return origin.parent if origin.name == "__init__.py" else origin
    return Path(next(iter(spec.submodule_search_locations or ()))).resolve()


def _claimants(package: str) -> list[str]:
    names = {name.lower().replace("_", "-") for name in packages_distributions().get(package, ())}
    return sorted(names - {DISTRIBUTION})


def _lies_in(name: str, package: str, found: Path) -> bool:
    place = Path(str(distribution(name).locate_file(package))).resolve()
    return found in (place, place.with_suffix(".py"))
