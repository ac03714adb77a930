"""Ed25519 signatures of an index, made and judged by OpenSSH's ``ssh-keygen -Y``.

OpenSSH is there wherever a bundle is sent by it, and on every Jetson; 8.1 or newer is needed.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.errors import ArtifactError, DependencyError, OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMESPACE = "hyperseg-bundle"
"""A signature made for another purpose does not count."""
SIGNER = "hyperseg"
KINDS = ("ssh-ed25519", "sk-ssh-ed25519@openssh.com")


def sign(raw: bytes, key: Path) -> bytes:
    """Sign bytes.

    Args:
        raw: of the index.
        key: private key, or a public one whose private half an agent holds.

    Returns:
        The signature as text, as ``ssh-keygen`` writes it.

    Raises:
        OptionError: the key cannot be used.
        DependencyError: no ``ssh-keygen``.
    """
    if not key.is_file():
        raise OptionError(f"no key {key}; make one: ssh-keygen -t ed25519 -f {key}")
    with tempfile.TemporaryDirectory(prefix="hyperseg-sign-") as folder:
        place = Path(folder) / "index"
        place.write_bytes(raw)
        done = _keygen("sign", "-f", str(key.absolute()), "-n", NAMESPACE, str(place))
        made = place.with_name("index.sig")
        if done.returncode != 0 or not made.is_file():
            raise OptionError(f"cannot sign with {key}: {_last_line(done)}")
        return made.read_bytes()


def read_keys(file: Path) -> list[str]:
    """Public Ed25519 keys, one a line, as in ``~/.ssh/id_ed25519.pub``.

    Raises:
        OptionError: the file cannot be read, or holds something else, or nothing.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"cannot read the keys in {file}: {error}") from error
    keys = []
    for line in lines:
        words = line.split()
        if not words or line.startswith("#"):
            continue
        if len(words) < 2 or words[0] not in KINDS:
            raise OptionError(f"{file}: {words[0][:40]!r} is no public Ed25519 key; see ssh-keygen")
        keys.append(f"{words[0]} {words[1]}")
    if not keys:
        raise OptionError(f"{file} holds no key; nothing could be trusted")
    return keys


def verify(raw: bytes, signature: bytes | None, keys: Sequence[str]) -> None:
    """Make sure that the holder of one of the keys has signed these bytes.

    Raises:
        ArtifactError: not signed, altered since, or signed by somebody else.
        DependencyError: no ``ssh-keygen``.
    """
    if signature is None:
        raise ArtifactError(
            "the bundle is not signed and a key is required here; make it with --key"
        )
    with tempfile.TemporaryDirectory(prefix="hyperseg-verify-") as folder:
        signers, place = Path(folder) / "signers", Path(folder) / "signature"
        signers.write_text("".join(f'{SIGNER} namespaces="{NAMESPACE}" {key}\n' for key in keys))
        place.write_bytes(signature)
        done = _keygen(
            "verify", "-f", str(signers), "-I", SIGNER, "-n", NAMESPACE, "-s", str(place), given=raw
        )
    if done.returncode != 0:
        raise ArtifactError(
            "the bundle's signature is not one of a trusted key over this index "
            f"({_last_line(done)}); it was altered, or signed with another key"
        )


def _keygen(what: str, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    tool = shutil.which("ssh-keygen")
    if tool is None:
        raise DependencyError("ssh-keygen is missing: apt-get install openssh-client")
    return subprocess.run(
        [tool, "-Y", what, *arguments], input=given, capture_output=True, check=False
    )


def _last_line(done: subprocess.CompletedProcess[bytes]) -> str:
    text = (done.stderr or done.stdout).decode(errors="replace").strip()
    return text.splitlines()[-1] if text else f"ssh-keygen ended with {done.returncode}"
