"""From labelled data to a checkpoint: the network, its presets, the trainer and the evaluation.

Stable entry for the authors' weights::

    from training import load_official
    net = load_official("camvid_s.pth", "camvid-s")   # net.double()(x) -> (N, C, H, W) logits
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.official import load_official as load_official

__all__ = ["load_official"]


def __getattr__(name: str) -> Any:
    # Resolved on first use: `hyperseg --help` imports this package and must not load torch.
    if name == "load_official":
        from training.official import load_official

        return load_official
    raise AttributeError(f"module 'training' has no attribute {name!r}")
