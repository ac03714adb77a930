"""NVIDIA's JetPack releases, by the L4T release that a board tells."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class JetPack:
    """What NVIDIA releases together."""

    name: str
    cuda: str
    tensorrt: tuple[str, ...]
    """Major and minor; owners may have a later one of the same CUDA."""
    python: str


JETPACKS = {
    "35": JetPack("5", "11.4", ("8.5",), "3.8"),
    "36.3": JetPack("6.0", "12.2", ("8.6",), "3.10"),
    "36.4": JetPack("6.1 or 6.2", "12.6", ("10.3",), "3.10"),
    "36.5": JetPack("6.2.2", "12.6", ("10.3",), "3.10"),
    "38.2": JetPack("7.0", "13.0", ("10.13",), "3.12"),
    "38.4": JetPack("7.1", "13.0", ("10.13",), "3.12"),
    "39.2": JetPack("7.2", "13.2", ("10.16", "11.4"), "3.12"),
}
"""By L4T release. After NVIDIA's release notes; the minor versions of 5, 6.0, 7.0 and 7.1 were not
compared with a board."""


def jetpack_of(l4t: str | None) -> JetPack | None:
    """The JetPack of an L4T release such as ``36.4.3``; None for one that is not known here."""
    if l4t is None:
        return None
    major, _, rest = l4t.partition(".")
    return JETPACKS.get(f"{major}.{rest.partition('.')[0]}") or JETPACKS.get(major)
