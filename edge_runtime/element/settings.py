"""The element's properties, named as users of nvinfer know them where they mean the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from gi.repository import GObject

from edge_runtime.errors import OptionError
from edge_runtime.gst import Gst
from edge_runtime.options import MAX_THREADS, Rebuild, RunOptions

OUTPUTS = ("overlay", "mask", "passthrough")
ALIASES = {"model-engine-file": "model"}
"""Properties of nvinfer that are another name of one of ours."""
UINT_MAX = 2**32 - 1


@dataclass
class Settings:
    """Values of the properties. Their defaults are written here and nowhere else."""

    model: str | None = None
    unique_id: int = 0
    interval: int = 0
    reuse_mask: bool = False
    output: str = "overlay"
    opacity: float = 0.5
    threads: int = 0
    rebuild: str | None = None
    store: str | None = None
    qos: bool = True
    attach_mask: bool = True
    post_messages: bool = False

    def get(self, name: str) -> Any:
        """The value of a property."""
        return getattr(self, _field(name))

    def set(self, name: str, value: Any) -> None:
        """Take a property's new value; whether it can work is told by `check`."""
        setattr(self, _field(name), value)

    def check(self) -> str:
        """The model, if all values can work.

        Raises:
            OptionError: no model, or a word that is none of those expected.
        """
        if not self.model:
            raise OptionError("no model; set model=FILE.onnx, or the name of a shipped model")
        if self.output not in OUTPUTS:
            raise OptionError(f"output={self.output!r}; expected one of {', '.join(OUTPUTS)}")
        if self.rebuild is not None and self.rebuild not in get_args(Rebuild):
            expected = " or ".join(get_args(Rebuild))
            raise OptionError(f"rebuild={self.rebuild!r}; expected {expected}, or leave it away")
        return self.model

    def run_options(self) -> RunOptions:
        """What opens the model, as of ``hyperseg run``.

        Raises:
            OptionError: `check` would have said so.
        """
        return RunOptions(
            threads=self.threads or None,
            rebuild=self.rebuild,  # type: ignore[arg-type]  # `check` has compared it
            store=None if self.store is None else Path(self.store),
        )


def _field(name: str) -> str:
    return ALIASES.get(name, name).replace("-", "_")


_PLAYING = GObject.ParamFlags(int(GObject.ParamFlags.READWRITE) | int(Gst.PARAM_MUTABLE_PLAYING))
_NULL = GObject.ParamFlags.READWRITE
_READ = GObject.ParamFlags.READABLE
_DEFAULT = Settings()


def _text(name: str, nick: str, blurb: str) -> tuple[Any, ...]:
    return (str, nick, blurb, _DEFAULT.get(name), _NULL)


def _number(name: str, nick: str, blurb: str, most: int, flags: Any) -> tuple[Any, ...]:
    return (GObject.TYPE_UINT, nick, blurb, 0, most, _DEFAULT.get(name), flags)


def _switch(name: str, nick: str, blurb: str, flags: Any = _PLAYING) -> tuple[Any, ...]:
    return (bool, nick, blurb, _DEFAULT.get(name), flags)


PROPERTIES: dict[str, tuple[Any, ...]] = {
    "model": _text("model", "Model", "Model file with its manifest, or name of a shipped model"),
    "model-engine-file": _text("model-engine-file", "Model", "The same as model"),
    "unique-id": _number(
        "unique-id", "Unique id", "Written into results, to tell several apart", UINT_MAX, _PLAYING
    ),
    "interval": _number(
        "interval", "Interval", "Frames that pass between two inferred ones", UINT_MAX, _PLAYING
    ),
    "reuse-mask": _switch(
        "reuse-mask", "Reuse mask", "Give frames that are not inferred the mask before them"
    ),
    "output": _text("output", "Output", "overlay, mask (GRAY8 of class ids) or passthrough"),
    "opacity": (
        float, "Opacity", "Weight of the colours of an overlay", 0.0, 1.0, _DEFAULT.opacity,
        _PLAYING,
    ),
    "threads": _number(
        "threads", "Threads", "CPU threads of an inference; 0: one per core", MAX_THREADS, _NULL
    ),
    "rebuild": _text("rebuild", "Rebuild", "Run on a TensorRT engine of the model: auto or never"),
    "store": _text("store", "Store", "Folder of engines; unset: in the user's cache"),
    "qos": _switch("qos", "QoS", "Let frames that would be shown too late pass without inference"),
    "attach-mask": _switch(
        "attach-mask", "Attach mask", "Give buffers a meta with mask and class ratios", _NULL
    ),
    "post-messages": _switch(
        "post-messages", "Post messages", "Post an element message for each frame"
    ),
    "labels": (GObject.TYPE_STRV, "Labels", "Names of the model's classes by id", _READ),
    "statistics": (Gst.Structure, "Statistics", "Frames by fate, inference times", _READ),
}  # fmt: skip
"""As ``__gproperties__``; what cannot be changed while playing is read on the way to READY."""
