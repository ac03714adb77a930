"""Pictures within a page."""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edge_runtime.labels import LabelSet

WIDTH = 320
"""Of a picture on a page, in pixels."""
DIFFERENT = (0, 0, 220)
"""Colour, BGR, of pixels that are not as they should be."""
_QUALITY = 82


def png(image: NDArray[np.uint8], width: int = WIDTH) -> str:
    """A ``data:`` address of a mask or marked picture; colours stay what they are.

    Args:
        image: (H, W, 3) uint8 BGR.
        width: of the picture, in pixels.
    """
    import cv2

    small = cv2.resize(image, _size(image, width), interpolation=cv2.INTER_NEAREST)
    _, content = cv2.imencode(".png", small, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return _address("png", content)


def photo(image: NDArray[np.uint8], width: int = WIDTH) -> str:
    """A ``data:`` address of what a camera saw.

    Args:
        image: (H, W, 3) uint8 BGR.
        width: of the picture, in pixels.
    """
    import cv2

    small = cv2.resize(image, _size(image, width), interpolation=cv2.INTER_AREA)
    _, content = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return _address("jpeg", content)


def marked(image: NDArray[np.uint8], where: NDArray[np.bool_], width: int = WIDTH) -> str:
    """A ``data:`` address of a picture, pale, with `DIFFERENT` where something is wrong.

    Args:
        image: (H, W, 3) uint8 BGR.
        where: (H, W); a single pixel shows however small the picture is.
        width: of the picture, in pixels.
    """
    import cv2

    size = _size(image, width)
    pale = cv2.resize((image // 3 + 150).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    way = cv2.INTER_AREA if width < image.shape[1] else cv2.INTER_NEAREST
    pale[cv2.resize(where.astype(np.float32), size, interpolation=way) > 0] = DIFFERENT
    return png(np.asarray(pale, np.uint8), width)


def panels(title: str, pictures: Mapping[str, str]) -> str:
    """Pictures of one frame side by side.

    Args:
        title: above them, as text.
        pictures: caption -> ``data:`` address.
    """
    figures = "".join(
        f'<figure><img alt="{escape(caption)}" src="{escape(address)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, address in pictures.items()
    )
    return f'<h3>{escape(title)}</h3><div class="panels">{figures}</div>'


def colours_of(labels: LabelSet) -> dict[str, str]:
    """Class name -> colour as ``#rrggbb``."""
    return {
        name: "#{:02x}{:02x}{:02x}".format(*colour)
        for name, colour in zip(labels.names, labels.palette, strict=True)
    }


def swatches(colours: Mapping[str, str]) -> str:
    """What the colours of masks mean.

    Args:
        colours: class name -> ``#rrggbb``.
    """
    keys = "".join(
        f'<span><i class="swatch" style="background:{escape(colour)}"></i>{escape(name)}</span>'
        for name, colour in colours.items()
    )
    return f'<p class="legend">{keys}</p>'


def _size(image: NDArray[np.uint8], width: int) -> tuple[int, int]:
    """(width, height) as OpenCV wants it."""
    return width, max(round(image.shape[0] * width / image.shape[1]), 1)


def _address(kind: str, content: NDArray[np.uint8]) -> str:
    return f"data:image/{kind};base64," + base64.b64encode(content.tobytes()).decode()
