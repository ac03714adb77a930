"""What may stand at a place of a command line: ``shell_complete`` of arguments and options.

A shell waits for the answer while somebody types: nothing is opened, and no manifest is read.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

from edge_runtime.suggest import MAX_FILES

if TYPE_CHECKING:
    from collections.abc import Iterable

    import click

SOURCES = ("test:", "test:bars", "test:smpte", "v4l2:///dev/", "csi://0", "rtsp://", "rtsps://",
           "launch:", "fault:", "file://")  # fmt: skip
"""Beginnings of sources; videos and folders of images are files."""
DATA = ("camvid:", "camvid12:", "cityscapes:", "voc:", "vocaug:", "folder:", "street:")
"""Kinds of labelled images."""
POLICIES = ("every", "latest", "deadline=")
_CAMERA = re.compile(r"(?P<name>[A-Za-z0-9_-]+=)(?P<rest>.*)", re.DOTALL)


def models(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Shipped models, and files."""
    from edge_runtime.zoo import shipped_names

    return [*matching(shipped_names(), incomplete), _files(incomplete)]


def sources(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Schemes, cameras that are there, and files; behind a camera's ``NAME=`` too."""
    if named := _CAMERA.fullmatch(incomplete):
        inner = sources(ctx, param, named["rest"])
        return [
            CompletionItem(named["name"] + item.value, type=item.type)
            for item in inner
            if item.type == "plain"
        ]
    if incomplete.startswith("v4l2://"):
        found = (f"v4l2://{device}" for device in sorted(Path("/dev").glob("video[0-9]*")))
        return matching(found, incomplete)
    return [*matching(SOURCES, incomplete), _files(incomplete)]


def sinks(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Kinds of sinks; behind the colon of those that write a file, files."""
    from edge_runtime.sinks.spec import SCHEMES

    kind, colon, rest = incomplete.partition(":")
    if colon:
        form = SCHEMES[kind].form if kind in SCHEMES else ""
        writes = any(word in form for word in ("DIR", "FILE"))
        return paths(f"{kind}:", rest) if writes else []
    forms = [scheme.form for scheme in SCHEMES.values()]
    kinds = [form.partition(":")[0] + (":" if ":" in form else "") for form in forms]
    return [*matching([kind for kind in kinds if "|" not in kind], incomplete), _files(incomplete)]


def policies(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Policies; behind a camera's ``NAME=`` too."""
    if (named := _CAMERA.fullmatch(incomplete)) and named["name"] not in POLICIES:
        return matching((named["name"] + policy for policy in POLICIES), incomplete)
    return matching(POLICIES, incomplete)


def data(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Kinds of labelled images; behind the colon, folders."""
    kind, colon, rest = incomplete.partition(":")
    if not colon:
        return matching(DATA, incomplete)
    return [] if kind == "street" else paths(f"{kind}:", rest, folders=True)


def frames(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Labelled images, or any source."""
    if ":" in incomplete:
        return [*data(ctx, param, incomplete), *sources(ctx, param, incomplete)]
    return [*matching(DATA, incomplete), *sources(ctx, param, incomplete)]


def label_sets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Built-in label sets, and files."""
    from edge_runtime.labels import LABEL_SETS

    return [*matching(LABEL_SETS, incomplete), _files(incomplete)]


def services(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Services that are installed."""
    from edge_runtime.service.places import installed_names

    return matching(installed_names(), incomplete)


def matching(words: Iterable[str], incomplete: str) -> list[CompletionItem]:
    """Those of `words` that go on as `incomplete` begins."""
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]


def paths(prefix: str, rest: str, *, folders: bool = False) -> list[CompletionItem]:
    """Files as plain words, for where they do not stand alone.

    Args:
        prefix: what stands before the path, such as ``masks:``.
        rest: the path as far as it is typed.
        folders: folders only.
    """
    typed = rest[: rest.rfind("/") + 1]
    try:
        entries = sorted(Path(typed or ".").expanduser().iterdir())[:MAX_FILES]
    except OSError:
        return []
    found = (typed + entry.name + ("/" if entry.is_dir() else "") for entry in entries)
    names = (name for name in found if name.endswith("/") or not folders)
    return matching((prefix + name for name in names if _is_shown(name, rest)), prefix + rest)


def _is_shown(name: str, rest: str) -> bool:
    """Hidden files are shown to those who begin with a dot."""
    last = name.rstrip("/").rpartition("/")[2]
    return not last.startswith(".") or rest.rpartition("/")[2].startswith(".")


def files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Files."""
    return [_files(incomplete)]


def _files(incomplete: str) -> CompletionItem:
    """Asks the shell for files."""
    return CompletionItem(incomplete, type="file")
