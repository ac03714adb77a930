"""The authors' checkpoints: their key names, their configurations, and a strict import.

An official ``.pth`` is a dict with ``state_dict`` and training leftovers. Only ``state_dict`` is
used; the file's ``arch`` text, which the authors evaluate as code, is never looked at. Every key
must be consumed exactly once; the cached coordinate planes, which equal computed ones, are the only
ones set aside.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from edge_runtime.artifacts import check_readable
from edge_runtime.errors import ArtifactError
from training.model.hyperseg import HyperSeg
from training.presets import PUBLISHED, preset

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from training.model.config import HyperSegConfig

State = dict[str, "Tensor"]

_BN_OF_CONV = {0: "expand", 1: "depthwise", 2: "project"}
_RENAMES: tuple[tuple[str, str], ...] = (
    (r"backbone\._conv_stem\.", "backbone.stem.conv."),
    (r"backbone\._bn0\.", "backbone.stem.bn."),
    (r"backbone\._conv_head\.", "backbone.head.conv."),
    (r"backbone\._bn1\.", "backbone.head.bn."),
    (
        r"backbone\._blocks\.(\d+)\._(expand|depthwise|project)_conv\.",
        r"backbone.blocks.\1.\2.conv.",
    ),
    (r"backbone\._blocks\.(\d+)\._se_(reduce|expand)\.", r"backbone.blocks.\1.se.\2."),
    *(
        (rf"backbone\._blocks\.(\d+)\._bn{number}\.", rf"backbone.blocks.\1.{conv}.bn.")
        for number, conv in _BN_OF_CONV.items()
    ),
    (r"backbone\._feat_fc_(\d)\.", r"reductions.\1."),
    # v0_1 numbers its context head's blocks in their names, and keeps signal-to-weights there.
    (r"weight_mapper\.out_conv\.conv_(\d)\.", r"decoder.generators.\1.conv."),
    (r"weight_mapper\.(down|flat)_(\d)\.", r"context_head.\1_blocks.\2."),
    (r"weight_mapper\.", "context_head."),
    (r"decoder\.weight_blocks\.(\d)\.signal2weights\.", r"decoder.generators.\1.conv."),
    (r"decoder\.level_(\d)\.0\.(?:0\.)?signal2weights\.", r"decoder.generators.\1.conv."),
    (r"decoder\.level_(?:blocks\.)?(\d)\.0\.1\.", r"decoder.levels.\1.bn."),
    (r"decoder\.level_(?:blocks\.)?(\d)\.0\.bn(\d)\.", r"decoder.levels.\1.bn\2."),
    *(
        (rf"decoder\.level_(\d)\.0\.conv\.{index}\.1\.", rf"decoder.levels.\1.bn{index + 1}.")
        for index in range(3)
    ),
)  # fmt: skip
_COORDINATES = re.compile(r"decoder\.coord\d+_\d+$")


def rename(key: str) -> str:
    """Our name of an official key; a key of neither kind comes back unchanged."""
    for pattern, ours in _RENAMES:
        renamed, count = re.subn(f"^{pattern}", ours, key)
        if count:
            return renamed
    return key


def load_official(path: str | Path, preset_name: str | None = None) -> HyperSeg:
    """The authors' network with the weights of one of their checkpoints, in eval mode.

    ``net.double()(x)`` maps a normalised (N, 3, H, W) to full-resolution logits (N, C, H, W).

    Args:
        path: an official ``.pth``.
        preset_name: one of `training.presets.PUBLISHED`; None finds the one whose keys all fit.

    Raises:
        ArtifactError: unreadable, not a checkpoint, or its keys or shapes are not the preset's.
        OptionError: no such preset.
    """
    from pathlib import Path

    state = read_official(Path(path))
    if preset_name is not None:
        return _fill(HyperSeg(_with_classes(preset(preset_name), state)), state, preset_name)
    complaints = []
    for name in PUBLISHED:
        try:
            return _fill(HyperSeg(_with_classes(preset(name), state)), state, name)
        except ArtifactError as error:
            complaints.append(str(error))
    nearest = min(complaints, key=len)
    raise ArtifactError(f"{path} fits none of {', '.join(PUBLISHED)}; the nearest: {nearest}")


def read_official(path: Path) -> State:
    """The ``state_dict`` of an official file under our key names, coordinates left out.

    The file is unpickled with ``weights_only``: tensors, containers and numpy scalars, no code.

    Raises:
        ArtifactError: missing, damaged, not a checkpoint, or two keys with one meaning.
    """
    check_readable(path)
    try:
        with torch.serialization.safe_globals(_numpy_scalars()):
            content = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251 (weights only; the file is not ours)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ArtifactError(
            f"{path} is not a PyTorch checkpoint that can be read without running code: {reason}"
        ) from error
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state:
        raise ArtifactError(
            f"{path} has no 'state_dict'; expected an official HyperSeg checkpoint (.pth)"
        )
    ours: State = {}
    for key, value in state.items():
        plain = str(key).removeprefix("module.")
        if _COORDINATES.match(plain):
            continue
        name = rename(plain)
        if name in ours or not isinstance(value, torch.Tensor):
            raise ArtifactError(f"{path}: key {key!r} is not a tensor, or stands there twice")
        ours[name] = value
    return ours


def _numpy_scalars() -> list[Any]:
    """What a best_iou saved as a numpy scalar needs: data types, no callable of the file's."""
    import numpy as np

    scalar = np.float64(0).__reduce__()[0]
    return [
        scalar,
        (scalar, "numpy.core.multiarray.scalar"),
        np.dtype,
        type(np.dtype(np.float64)),
        type(np.dtype(np.float32)),
    ]


def _with_classes(config: HyperSegConfig, state: Mapping[str, Tensor]) -> HyperSegConfig:
    """The preset with the file's number of classes: the width of the last level's last norm."""
    last = len(config.decoder.levels) - 1
    for name in (f"decoder.levels.{last}.bn3.weight", f"decoder.levels.{last}.bn.weight"):
        if name in state and state[name].numel() != config.num_classes:
            return replace(config, num_classes=state[name].numel(), labels="")
    return config


def _fill(net: HyperSeg, state: State, name: str) -> HyperSeg:
    """Load strictly; name what differs."""
    expected = net.state_dict()
    missing = sorted(expected.keys() - state.keys())
    surplus = sorted(state.keys() - expected.keys())
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in expected.keys() & state.keys()
        if state[key].shape != expected[key].shape
    ]
    if missing or surplus or shapes:
        parts = [
            f"{len(found)} {what} ({', '.join(sorted(found)[:3])}{', ...' if found[3:] else ''})"
            for what, found in (("missing", missing), ("unknown", surplus), ("misshapen", shapes))
            if found
        ]
        raise ArtifactError(f"checkpoint does not fit preset {name!r}: {'; '.join(parts)}")
    net.load_state_dict(state)
    return net.eval()
