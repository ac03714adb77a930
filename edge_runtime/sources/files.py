"""Plans for what lies on a disk: videos, images and folders of images."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edge_runtime.errors import SourceError
from edge_runtime.sources.images import ImageFiles, images_in, is_image, names_of
from edge_runtime.sources.plan import SOURCE_NAME, SourcePlan
from edge_runtime.suggest import MAX_FILES, hint

if TYPE_CHECKING:
    from pathlib import Path

URI_DECODER = f"uridecodebin name={SOURCE_NAME} expose-all-streams=false"
"""Decodes the video of a URI; its audio is not even decoded."""


def plan_path(path: Path) -> SourcePlan:
    """The plan for a video, an image or a folder of images.

    Raises:
        SourceError: there is no such thing, it is empty, or it may not be read.
    """
    try:
        if path.is_dir():
            return _plan_images(str(path), images_in(path))
        if not path.exists():
            raise SourceError(
                f"no source {str(path)!r}: neither a file nor a folder; {_meant(path)}expected a "
                "video, an image, a folder of images, rtsp://, v4l2:///dev/video0, csi://0 or test:"
            )
        _check_readable(path)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from None
    if is_image(path):
        return _plan_images(str(path), (path,))
    return SourcePlan(
        uri=str(path),
        launch=URI_DECODER,
        properties={"uri": path.absolute().as_uri(), "caps": "video/x-raw(ANY)"},
        clock="file",
    )


def _meant(path: Path) -> str:
    """What of that folder comes near to the name."""
    try:
        names = sorted(os.listdir(path.parent))  # noqa: PTH208 (names are all it takes)
    except OSError:
        return ""
    return hint(path.name, names[:MAX_FILES])


def _check_readable(path: Path) -> None:
    if not path.is_file():
        raise SourceError(f"{path} is neither a file nor a folder; expected a video or images")
    if not os.access(path, os.R_OK):
        raise SourceError(f"cannot read {path}: permission denied; see `ls -l`")
    if path.stat().st_size == 0:
        raise SourceError(f"{path} is empty (0 bytes); it was cut short: copy or record it again")


def _plan_images(uri: str, paths: tuple[Path, ...]) -> SourcePlan:
    return SourcePlan(
        uri=uri,
        launch=f"appsrc name={SOURCE_NAME} format=time",
        clock="file",
        arrives_at_source=True,
        timeless=True,
        pictures=ImageFiles(paths),
        names=names_of(paths),
    )
