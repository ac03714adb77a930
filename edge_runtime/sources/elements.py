"""What the texts and settings of pipelines depend on: which elements there are, and what they take.

Launch texts are pure functions of it, so that those for another machine can be tested on this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from edge_runtime.errors import DependencyError

if TYPE_CHECKING:
    from collections.abc import Mapping

DECODER_SETTINGS: Mapping[str, Mapping[str, object]] = {
    # Clocks stay up between frames. JetPack 7 has no such property any more.
    "nvv4l2decoder": {"enable-max-performance": True},
}
"""What decoders are given, as far as they have the property."""

JPEG_SETTINGS: Mapping[str, Mapping[str, object]] = {
    # Which of a Jetson's decoding units it opens, and that is before it sees the stream's caps.
    "nvv4l2decoder": {"mjpeg": True},
}
"""What decoders of JPEG pictures are given besides."""

CONVERTERS = ("nvvidconv", "nvvideoconvert")
"""Hardware converters that take NVMM memory and scale: Jetson's own, then DeepStream's."""


class Elements(Protocol):
    """Elements of one GStreamer installation."""

    def has(self, element: str) -> bool:
        """Whether there is an element of this name."""
        ...

    def has_property(self, element: str, name: str) -> bool:
        """Whether the element is there and has a property of this name."""
        ...


class InstalledElements:
    """The elements installed here."""

    def has(self, element: str) -> bool:
        """See `Elements.has`."""
        from edge_runtime.gst import has_element

        return has_element(element)

    def has_property(self, element: str, name: str) -> bool:
        """See `Elements.has_property`."""
        from edge_runtime.gst import has_property

        return has_property(element, name)


def require(elements: Elements, name: str) -> None:
    """Raise `DependencyError` naming the package, unless the element is there."""
    if not elements.has(name):
        from edge_runtime.gst import ELEMENT_PACKAGES

        package = ELEMENT_PACKAGES.get(name, "the GStreamer plug-in that holds it")
        raise DependencyError(f"GStreamer element {name!r} is missing: apt-get install {package}")


def hardware_converter(elements: Elements) -> str | None:
    """Launch text of the converter that takes NVMM memory; None where there is none.

    It scales by interpolation, as networks are trained; by itself it takes the nearest pixel.
    """
    name = next((name for name in CONVERTERS if elements.has(name)), None)
    if name is not None and elements.has_property(name, "interpolation-method"):
        return f"{name} interpolation-method=1"
    return name


def decoder_settings(decoder: str, elements: Elements, *, jpeg: bool = False) -> dict[str, object]:
    """Properties that an automatically chosen decoder is given.

    Args:
        decoder: name of the element.
        elements: decides which properties it has.
        jpeg: the stream is one of JPEG pictures.
    """
    wanted = {
        **DECODER_SETTINGS.get(decoder, {}),
        **(JPEG_SETTINGS.get(decoder, {}) if jpeg else {}),
    }
    return {name: value for name, value in wanted.items() if elements.has_property(decoder, name)}
