"""Options of the random views: frozen, with each default written once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_runtime.errors import OptionError

ScaleLaw = Literal["log", "uniform"]
HELP = {
    "crop": "What the network sees in training.",
    "scale": "Range of the random zoom.",
    "scale_law": "How the zoom is drawn.",
    "scale_probability": "Probability of a zoom.",
    "rotate": "Largest rotation, degrees.",
    "flip": "Probability of mirroring.",
    "jitter": "Strength of random colours.",
    "hue": "Largest turn of the hue, 0..0.5.",
    "blur": "Probability of blur.",
    "noise": "Probability of noise.",
    "rare_crops": "Probability of a crop around a rare class.",
    "class_mix": "Probability of another picture's classes pasted over.",
}
"""What each option is, in a command's help."""


@dataclass(frozen=True)
class AugmentOptions:
    """Random views of a training image.

    Raises:
        OptionError: a value that cannot work.
    """

    crop: tuple[int, int] = (320, 448)
    """(height, width) of what the network sees, in pixels."""
    scale: tuple[float, float] = (0.5, 2.0)
    """Range of the random zoom; above 1 things appear larger."""
    scale_law: ScaleLaw = "log"
    """How the zoom is drawn: ``log`` makes halving as likely as doubling."""
    scale_probability: float = 1.0
    """Probability of a zoom; otherwise the image is taken at its own size."""
    rotate: float = 0.0
    """Largest rotation in degrees, either way; 0 is off."""
    flip: float = 0.5
    """Probability of a left-right mirror image."""
    jitter: float = 0.25
    """Strength of random brightness, contrast, saturation and tint; 0 is off."""
    hue: float = 0.0
    """Largest turn of the hue, either way, as a share of the colour circle; 0 is off."""
    blur: float = 0.1
    """Probability of a light Gaussian blur."""
    noise: float = 0.1
    """Probability of light Gaussian sensor noise."""
    rare_crops: float = 0.0
    """Probability that the crop is centred on a pixel of a class drawn by inverse frequency."""
    class_mix: float = 0.0
    """Probability that half of the classes of another picture are pasted over this one."""

    def __post_init__(self) -> None:
        if min(self.crop) < 8:
            raise OptionError(f"crop {self.crop} is too small; give at least 8x8")
        low, high = self.scale
        if not 0.05 <= low <= high <= 20:
            raise OptionError(f"scale {self.scale} is not an ordered range in 0.05..20")
        for name in _PROBABILITIES:
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise OptionError(f"{name} is {value}; expected 0..1")
        if not 0 <= self.hue <= 0.5:
            raise OptionError(f"hue is {self.hue}; expected 0..0.5, half the colour circle")
        if not 0 <= self.rotate <= 180:
            raise OptionError(f"rotate is {self.rotate}; expected degrees, 0..180")


_PROBABILITIES = (
    "flip", "blur", "noise", "jitter", "scale_probability", "rare_crops", "class_mix",
)  # fmt: skip
