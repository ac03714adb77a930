"""What the network of a new run starts from: a checkpoint, a trained encoder, or chance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.artifacts import read_manifest
from edge_runtime.errors import OptionError
from edge_runtime.zoo import resolve_model
from training.checkpoint import load_checkpoint, load_encoder_weights
from training.model.signal_to_weights import SignalToWeights
from training.presets import preset

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.artifacts import Manifest
    from edge_runtime.labels import LabelSet
    from training.model.config import HyperSegConfig
    from training.model.hyperseg import HyperSeg


def start_from_checkpoint(
    net: HyperSeg,
    source: str,
    labels: LabelSet,
    report: Callable[[str], None],
    *,
    other_classes: bool = True,
) -> None:
    """Fill `net` with the weights of a checkpoint of the same network.

    If the checkpoint has other classes, the last level and what generates its weights begin anew,
    and so does every generator that reads another part of the signal now: the parts are as large as
    the weights to be generated (HyperSeg, section 3.2). Learned base weights stay.

    Args:
        net: the network of the new run, as it starts by itself.
        source: the checkpoint, as a path or a name.
        labels: the classes of the new run.
        report: takes what is worth a line.
        other_classes: whether the checkpoint may have others, or as many in another order.

    Raises:
        ArtifactError: the checkpoint is missing, damaged or of another kind.
        OptionError: it is of another network, or has other classes where it must not.
    """
    trained, manifest = load_checkpoint(resolve_model(source))
    weights, own = trained.state_dict(), net.state_dict()
    anew: set[str] = set()
    if _differ(manifest.labels, labels):
        if not other_classes:
            raise OptionError(
                f"{source} has the classes {', '.join(manifest.labels.names)}, the data "
                f"{', '.join(labels.names)}; --qat goes on with the classes that its ranges were "
                "found for"
            )
        anew = _depending_on_classes(net, trained)
    if weights.keys() != own.keys() or any(
        weights[key].shape != own[key].shape for key in own.keys() - anew
    ):
        raise OptionError(_misfit(net, trained, source, manifest))
    net.load_state_dict({key: own[key] if key in anew else weights[key] for key in own})
    report(f"starting from {manifest.name}, {Path(source).name}")
    if anew:
        report(
            f"its {len(manifest.labels)} classes, of {manifest.labels.name}, are not the "
            f"{len(labels)} of {labels.name}: what depends on them begins anew, {len(anew)} of "
            f"{len(own)} tensors"
        )


def start_from_encoder(net: HyperSeg, weights: str | None, report: Callable[[str], None]) -> None:
    """Fill the encoder of `net` with trained weights, by name or file; None leaves it to chance."""
    if weights is None:
        report("the encoder starts from random weights; --encoder-weights gives it trained ones")
        return
    unused = load_encoder_weights(net, weights)
    report(f"encoder weights loaded; not used: {', '.join(unused) or 'none'}")


def inherited(init: str | None, teacher: str | None) -> dict[str, Any]:
    """What a run takes over from the networks it starts from and learns from, beside weights.

    Args:
        init: the checkpoint to start from, if any.
        teacher: the network to learn from, if any.

    Returns:
        Values of `training.options.TrainOptions`: ``terms`` and, with `init`, ``val_known`` and the
        ``encoder_weights`` that its encoder once started from, which the next checkpoint tells too.
    """
    values: dict[str, Any] = {}
    licenses = []
    # The files are verified when their weights are read.
    if init is not None:
        manifest = read_manifest(resolve_model(init), kind="checkpoint", verify=False)
        licenses.append(manifest.license)
        training = manifest.options.get("training", {})
        values["encoder_weights"] = training.get("encoder_weights")
        both = training.get("train_split") == "trainval"
        values["val_known"] = manifest.labels.name if both else training.get("val_known")
    if teacher is not None:
        licenses.append(read_manifest(resolve_model(teacher), verify=False).license)
    return {**values, "terms": join_terms(*licenses)}


def join_terms(*licenses: str) -> str:
    """All that bind the weights, each once."""
    terms = (term for text in licenses for term in text.split("; "))
    return "; ".join(dict.fromkeys(term for term in terms if term))


def _differ(before: LabelSet, now: LabelSet) -> bool:
    """Whether two label sets have other classes, or the same in another order."""
    return [name.casefold() for name in before.names] != [name.casefold() for name in now.names]


def _misfit(net: HyperSeg, trained: HyperSeg, source: str, manifest: Manifest) -> str:
    """Why the weights of a checkpoint do not fit, and what to do."""
    if manifest.preset is not None and _is_former(trained.config, manifest.preset):
        return (
            f"{source} holds the network that {manifest.preset} was in a former version of this "
            "program, which can be evaluated and exported; to train it on, give the variation of "
            "the preset that is that network, if there is one"
        )
    return (
        f"{source} holds the network {manifest.preset or manifest.name}, whose weights do not fit "
        f"{net.config.encoder.name} with {net.config.num_classes} classes as asked for; give the "
        "preset and the data it was trained with"
    )


def _is_former(config: HyperSegConfig, name: str) -> bool:
    """Whether the preset of that name has become another network."""
    try:
        now = preset(name)
    except OptionError:
        return True
    return replace(now, num_classes=config.num_classes, labels=config.labels) != config


def _depending_on_classes(net: HyperSeg, trained: HyperSeg) -> set[str]:
    """Names of the tensors of a decoder that mean something else with other classes."""
    before, now = dict(trained.named_modules()), dict(net.named_modules())
    count = sum(name.startswith("decoder.generators.") for name in now if name.count(".") == 2)
    last = (
        f"decoder.levels.{len(net.config.decoder.levels) - 1}.",
        f"decoder.generators.{count - 1}.",
        "decoder.classify.",
    )
    found = {key for key in net.state_dict() if key.startswith(last)}
    for name, generator in now.items():
        former = before.get(name)
        if (
            isinstance(generator, SignalToWeights)
            and isinstance(former, SignalToWeights)
            and (generator.offset, generator.channels) != (former.offset, former.channels)
        ):
            found.add(f"{name}.conv.weight")
    return found
