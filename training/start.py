"""What the network of a new run starts from: a checkpoint, a trained encoder, or chance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.artifacts import read_manifest
from edge_runtime.errors import OptionError
from edge_runtime.zoo import resolve_model
from training.checkpoint import load_checkpoint, load_encoder_weights
from training.model.signal_to_weights import SignalToWeights

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.model.hyperseg import HyperSeg


def start_from_checkpoint(
    net: HyperSeg, source: str, report: Callable[[str], None], *, other_classes: bool = True
) -> None:
    """Fill `net` with the weights of a checkpoint of the same network.

    If the checkpoint answers another number of classes, what depends on it begins anew: the last
    level, and every generator that now reads another part of the signal, since the parts are as
    large as the weights to be generated (HyperSeg, section 3.2). Learned base weights stay.

    Args:
        net: the network of the new run, as it starts by itself.
        source: the checkpoint, as a path or a name.
        report: takes what is worth a line.
        other_classes: whether the number of classes may differ.

    Raises:
        ArtifactError: the checkpoint is missing, damaged or of another kind.
        OptionError: it is of another network.
    """
    trained, manifest = load_checkpoint(resolve_model(source))
    weights, own = trained.state_dict(), net.state_dict()
    anew: set[str] = set()
    if other_classes and trained.config.num_classes != net.config.num_classes:
        anew = _depending_on_classes(net, trained)
    if weights.keys() != own.keys() or any(
        weights[key].shape != own[key].shape for key in own.keys() - anew
    ):
        raise OptionError(
            f"{source} holds the network {manifest.preset or manifest.name}, whose weights do not "
            f"fit {net.config.encoder.name} with {net.config.num_classes} classes as asked for; "
            "give the preset and the data it was trained with"
        )
    net.load_state_dict({key: own[key] if key in anew else weights[key] for key in own})
    report(f"starting from {manifest.name}, {Path(source).name}")
    if anew:
        report(
            f"it has {trained.config.num_classes} classes, not {net.config.num_classes}: what "
            f"depends on their number begins anew, {len(anew)} of {len(own)} tensors"
        )


def start_from_encoder(net: HyperSeg, weights: str | None, report: Callable[[str], None]) -> None:
    """Fill the encoder of `net` with trained weights, by name or file; None leaves it to chance."""
    if weights is None:
        report("the encoder starts from random weights; --encoder-weights gives it trained ones")
        return
    unused = load_encoder_weights(net, weights)
    report(f"encoder weights loaded; not used: {', '.join(unused) or 'none'}")


def first_encoder(source: str) -> str | None:
    """What the encoder of a checkpoint once started from, which the next checkpoint tells too."""
    # Its file is verified when its weights are read.
    manifest = read_manifest(resolve_model(source), kind="checkpoint", verify=False)
    weights: str | None = manifest.options.get("training", {}).get("encoder_weights")
    return weights


def _depending_on_classes(net: HyperSeg, trained: HyperSeg) -> set[str]:
    """Names of the tensors of a decoder that mean something else with other classes."""
    own, weights = net.state_dict(), trained.state_dict()
    last = f"decoder.levels.{len(net.config.decoder.levels) - 1}."
    found = {
        key
        for key in own.keys() & weights.keys()
        if key.startswith((last, "decoder.classify.", "decoder.generators."))
        and own[key].shape != weights[key].shape
    }
    before = dict(trained.named_modules())
    for name, module in net.named_modules():
        former = before.get(name)
        if (
            isinstance(module, SignalToWeights)
            and isinstance(former, SignalToWeights)
            and (module.offset, module.channels) != (former.offset, former.channels)
        ):
            found.add(f"{name}.conv.weight")
    return found
