"""What can go wrong, as one tree.

Every message is one line: what came, what was expected, what to do.

    HypersegError             a user's mistake or an outside fault: one line, exit code 2
    ├── OptionError           an argument or a combination of arguments that cannot work
    ├── ArtifactError         a model or checkpoint that is missing, damaged or of another kind
    │   └── ManifestError     the manifest is absent, malformed, or does not belong to its file
    ├── SourceError           a camera, stream, video or image folder that cannot be read
    │   └── SourceEndedError  a live source whose sender ended the stream
    ├── SinkError             an output that cannot be written
    ├── BackendError          the inference engine refused the model or failed while running it
    ├── DependencyError       an optional package or system component is missing or broken
    ├── DeployError           a device that cannot be reached, or that refused a release
    ├── ParityError           two forms of one network disagree by more than the gate: exit code 3
    └── GateError             an INT8 model loses more accuracy than was allowed: exit code 3

Anything else that escapes is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

EXIT_FOUND = 1
EXIT_MISTAKE = 2
EXIT_GATE = 3
EXIT_TRY_AGAIN = 75
"""``EX_TEMPFAIL`` of ``sysexits.h``."""
EXIT_INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""
EXIT_TERMINATED = 143
"""128 + SIGTERM."""

EXIT_CODES = {
    0: "done",
    EXIT_FOUND: "it ran, and found something: an error in the data, a camera that failed",
    EXIT_MISTAKE: "it could not be done: a mistake, or something outside that failed",
    EXIT_GATE: "a gate said no: accuracy, parity, growth or masks are not as required",
    EXIT_TRY_AGAIN: "under systemd: a new start may help",
    EXIT_INTERRUPTED: "Ctrl-C",
    EXIT_TERMINATED: "SIGTERM ended a training, which can be resumed",
}
"""What the exit codes of all verbs mean."""


class HypersegError(Exception):
    """Base of all errors that are reported in one line (exit code 2)."""

    exit_code = EXIT_MISTAKE

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class OptionError(HypersegError):
    """An argument, or a combination of arguments, that cannot work."""


class ArtifactError(HypersegError):
    """A model, checkpoint or other artefact that is missing, damaged or of another kind."""


class ManifestError(ArtifactError):
    """A manifest that is absent, malformed, or does not belong to the file beside it."""


class SourceError(HypersegError):
    """A camera, stream, video or image folder that cannot be opened or read."""


class SourceEndedError(SourceError):
    """A live source, which is not to end, whose sender ended the stream."""


class SinkError(HypersegError):
    """An output that cannot be written."""


class BackendError(HypersegError):
    """The inference engine refused the model or failed while running it."""


class DependencyError(HypersegError):
    """An optional package or system component is missing or broken."""


class DeployError(HypersegError):
    """A device that cannot be reached, or that refused a release; it runs what it ran before."""


class ParityError(HypersegError):
    """Two forms of one network disagree by more than the gate allows."""

    exit_code = EXIT_GATE


class GateError(HypersegError):
    """An INT8 model loses more accuracy than was allowed; it was not written."""

    exit_code = EXIT_GATE
