"""Opens the bridge where it can work, and says in one line why it cannot elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.nvmm.base import BridgeError, device_feed
from edge_runtime.nvmm.trust import Trust, off_line
from edge_runtime.sources.elements import CONVERTERS, hardware_converter

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.artifacts import Manifest
    from edge_runtime.backends.base import Backend
    from edge_runtime.nvmm.bridge import JetsonBridge
    from edge_runtime.sources.elements import Elements


def open_bridge(
    backend: Backend,
    manifest: Manifest,
    elements: Elements,
    say: Callable[[str], None],
    *,
    alone: bool = True,
) -> JetsonBridge | None:
    """The bridge to an entered backend; None, with a reason said, where it cannot work.

    Args:
        backend: what runs the network.
        manifest: of its model.
        elements: what GStreamer has here.
        say: takes the one line, now or when the bridge is given up.
        alone: whether the network serves this camera only.
    """
    reason = why_not(backend, manifest, elements, alone=alone)
    if reason is None:
        try:
            return _open(manifest, say)
        except (BridgeError, ImportError, RuntimeError) as error:
            reason = str(error) or type(error).__name__
    say(off_line(" ".join(reason.split())))
    return None


def why_not(backend: Backend, manifest: Manifest, elements: Elements, *, alone: bool) -> str | None:
    """Why there can be no bridge, as far as that is known before CUDA is asked; None: there can."""
    if hardware_converter(elements) is None:
        return f"this is no Jetson (GStreamer has no {' or '.join(CONVERTERS)})"
    if not elements.has_property("valve", "drop-mode"):
        return "GStreamer is older than 1.20"
    if not alone:
        return "several cameras share the network"
    if device_feed(backend) is None:
        return f"{backend.name} is no TensorRT engine on a GPU that shares its memory with the host"
    spec, (height, width) = manifest.inputs[0], manifest.input_size
    if spec.dtype != "uint8" or tuple(spec.shape) != (1, height, width, 3):
        return f"the input is {spec.dtype} {tuple(spec.shape)}, expected uint8 (1, H, W, 3)"
    return None


def _open(manifest: Manifest, say: Callable[[str], None]) -> JetsonBridge:
    from edge_runtime.nvmm.bridge import JetsonBridge
    from edge_runtime.nvmm.device import CudaDevice, EglImages

    is_bgr = manifest.preprocess.color == "BGR"
    return JetsonBridge(CudaDevice(), EglImages(), Trust(say), is_bgr=is_bgr)
