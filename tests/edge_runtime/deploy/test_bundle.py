"""Bundles that are whole are taken; whatever was done to one, it is refused and leaves nothing."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_runtime.cli import main
from edge_runtime.deploy import signing
from edge_runtime.deploy.bundle import unpack, verify, write_folder, write_parts, write_tar
from edge_runtime.deploy.index import INDEX, MANIFEST, MODEL, SIGNATURE, decode_index
from edge_runtime.deploy.releases import ENGINE
from edge_runtime.errors import ArtifactError, OptionError
from tests.edge_runtime.deploy.bundles import bundle_of
from tests.edge_runtime.deploy.sshd import make_key

CONTENT = bytes(range(256)) * 40


def parts(made, target):
    target.mkdir()
    write_parts(made, target)


FORMS = {"tar": write_tar, "folder": write_folder, "parts": parts}


@pytest.fixture
def made(make_model):
    return bundle_of(make_model(content=CONTENT))


@pytest.fixture
def tar(made, tmp_path):
    write_tar(made, tmp_path / "whole.tar")
    return tmp_path / "whole.tar"


def refused(path, tmp_path, keys=()):
    """The message of a refusal that leaves nothing."""
    target = tmp_path / "unpacked"
    with pytest.raises(ArtifactError) as error:
        unpack(path, target, keys)
    assert not target.exists()
    return str(error.value)


@pytest.mark.parametrize("form", FORMS)
def test_each_form_gives_back_what_went_in(form, made, tmp_path):
    path = tmp_path / "bundle"
    FORMS[form](made, path)

    signed, manifest = unpack(path, tmp_path / "unpacked")

    assert signed.key == made.signed.key
    assert manifest.name == "tiny"
    for name, source in made.files.items():
        assert (tmp_path / "unpacked" / name).read_bytes() == source.read_bytes()
    # and the folder that was unpacked is a bundle again
    assert verify(tmp_path / "unpacked").key == signed.key


def test_the_same_bundle_gives_the_same_bytes_and_any_tar_reads_it(made, tar, tmp_path):
    write_tar(made, tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == tar.read_bytes()
    with tarfile.open(tar) as archive:
        assert archive.getnames() == [INDEX, *made.files]
        assert archive.extractfile(MODEL).read() == CONTENT


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_bit_that_is_turned_is_noticed(share, bit, made, tar, tmp_path):
    data = bytearray(tar.read_bytes())
    place = int(share * len(data))
    data[place] ^= 1 << bit
    (tmp_path / "turned.tar").write_bytes(data)
    try:
        signed, _ = unpack(tmp_path / "turned.tar", tmp_path / "unpacked")
    except ArtifactError:
        assert not (tmp_path / "unpacked").exists()
    else:
        # What fills the blocks belongs to no file, and the index is the bundle's own address.
        assert signed.key != made.signed.key or all(
            (tmp_path / "unpacked" / name).read_bytes() == path.read_bytes()
            for name, path in made.files.items()
        )
        for file in (tmp_path / "unpacked").iterdir():
            file.unlink()
        (tmp_path / "unpacked").rmdir()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5, 0.9, 0.97])
def test_a_tar_file_that_was_cut_short_is_refused(share, tar, tmp_path):
    data = tar.read_bytes()
    cut = tmp_path / "cut.tar"
    cut.write_bytes(data[: int(share * len(data))])
    assert refused(cut, tmp_path)


def repack(tar, change):
    """The tar file with each member passed through `change`, by Python's own tarfile."""
    target = io.BytesIO()
    with (
        tarfile.open(tar) as source,
        tarfile.open(fileobj=target, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for member in source:
            for info, data in change(member, source.extractfile(member).read()):
                archive.addfile(info, None if data is None else io.BytesIO(data))
    return target.getvalue()


def named(name, **fields):
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def renamed(name):
    def change(member, data):
        if member.name == MODEL:
            member.name = name
        yield member, data

    return change


def joined(info, data=None):
    def change(member, content):
        yield member, content
        if member.name == MODEL:
            yield info, data

    return change


def replaced(info):
    def change(member, data):
        yield (info, None) if member.name == MODEL else (member, data)

    return change


def longer(member, data):
    if member.name == MODEL:
        data += b"more"
        member.size = len(data)
    yield member, data


TRICKS = {
    "parent": renamed("../model.onnx"),
    "deep-parent": renamed("a/../../model.onnx"),
    "absolute": renamed("/tmp/model.onnx"),
    "long-name": renamed("x" * 150),
    "case": joined(named("MODEL.ONNX", size=1), b"x"),
    "symlink": replaced(named(MODEL, type=tarfile.SYMTYPE, linkname="/etc/passwd")),
    "hard-link": replaced(named(MODEL, type=tarfile.LNKTYPE, linkname=INDEX)),
    "device": replaced(named(MODEL, type=tarfile.CHRTYPE, devmajor=1, devminor=5)),
    "block-device": replaced(named(MODEL, type=tarfile.BLKTYPE)),
    "pipe": replaced(named(MODEL, type=tarfile.FIFOTYPE)),
    "folder": joined(named("sub", type=tarfile.DIRTYPE)),
    "twice": joined(named(MODEL, size=1), b"x"),
    "surplus": joined(named("other", size=1), b"x"),
    "empty-name": joined(named("", size=1), b"x"),
    "longer": longer,
    "huge": replaced(named(MODEL, size=7 << 30)),
    "huger": replaced(named(MODEL, size=1 << 62)),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_tricks_with_tar_are_refused(trick, tar, tmp_path):
    hostile = tmp_path / "hostile.tar"
    hostile.write_bytes(repack(tar, TRICKS[trick]))
    before = sorted(path.name for path in tmp_path.iterdir())
    refused(hostile, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_header_that_renames_what_follows_and_data_behind_the_end_are_refused(tar, tmp_path):
    info = named(MODEL, size=1)
    info.pax_headers = {"path": "../../escaped"}
    hostile = tmp_path / "hostile.tar"
    with tarfile.open(hostile, "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(b"x"))
    assert "no regular file" in refused(hostile, tmp_path)
    hostile.write_bytes(tar.read_bytes() + b"hidden" * 100)
    assert "behind its end" in refused(hostile, tmp_path)
    hostile.write_bytes(b"\x1f\x8b" + os.urandom(2000))
    assert "no plain tar" in refused(hostile, tmp_path)


@pytest.mark.parametrize("kind", ["symlink", "pipe", "folder", "missing", "surplus", "longer"])
def test_tricks_with_folders_are_refused(kind, made, tmp_path):
    folder = tmp_path / "bundle"
    write_folder(made, folder)
    model = folder / MODEL
    if kind == "surplus":
        (folder / "other").touch()
    elif kind == "longer":
        model.write_bytes(CONTENT + b"more")
    else:
        model.unlink()
    if kind == "symlink":
        model.symlink_to(made.files[MODEL])
    elif kind == "pipe":
        os.mkfifo(model)
    elif kind == "folder":
        model.mkdir()
    assert refused(folder, tmp_path)


def test_a_changed_byte_of_any_file_is_refused(made, tmp_path):
    # given a bundle, also of a calibration table, which nothing else vouches for
    folder = tmp_path / "bundle"
    write_folder(made, folder)
    for name in made.files:
        # when one byte of one file is another
        before = (folder / name).read_bytes()
        (folder / name).write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        # then it is named
        assert f"{name} has other bytes" in refused(folder, tmp_path)
        (folder / name).write_bytes(before)
    unpack(folder, tmp_path / "whole")


@pytest.mark.parametrize(
    "name",
    ["../x", "/x", "a/b", "..", ".", "", "-x", "x\n", INDEX, SIGNATURE, ENGINE, f"{ENGINE}.json"],
)
def test_names_that_lead_out_of_a_bundle_or_bring_an_engine_are_refused(name, made):
    given = msgspec.json.decode(made.signed.raw)
    given["files"][2]["name"] = name
    with pytest.raises(ArtifactError, match="no name for a file"):
        decode_index(msgspec.json.encode(given))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", MANIFEST, "twice"),
        ("name", MANIFEST.upper(), "no name for a file"),
        ("bytes", 0, "has 0 bytes"),
        ("bytes", 5 << 30, "parts of"),
        ("sha256", "x" * 64, "no SHA-256"),
        ("parts", ["../../etc/passwd"], "no SHA-256"),
        ("mode", 0o4755, "unknown field"),
    ],
)
def test_other_tricks_with_the_index_are_refused(field, value, message, made):
    given = msgspec.json.decode(made.signed.raw)
    given["files"][2][field] = value
    with pytest.raises(ArtifactError, match=message):
        decode_index(msgspec.json.encode(given))


def test_a_model_that_is_not_of_its_manifest_is_refused(make_model, tmp_path):
    model = make_model(content=CONTENT)
    model.write_bytes(b"another model")  # the bundle's own sums are right
    write_tar(bundle_of(model), tmp_path / "b.tar")
    assert "does not belong to" in refused(tmp_path / "b.tar", tmp_path)


@pytest.fixture
def keys(tmp_path):
    """(ours, another's), private."""
    return make_key(tmp_path / "ours"), make_key(tmp_path / "theirs")


def public(key):
    return signing.read_keys(key.with_suffix(".pub"))


@pytest.mark.parametrize("form", FORMS)
def test_signatures(form, keys, make_model, tmp_path):
    ours, theirs = keys
    plain, signed = tmp_path / "plain", tmp_path / "signed"
    model = make_model(content=CONTENT)
    FORMS[form](bundle_of(model), plain)
    FORMS[form](bundle_of(model, ours), signed)
    # the right key, alone or among others
    assert verify(signed, public(ours)).signature is not None
    assert verify(signed, [*public(theirs), *public(ours)])
    # no key, no demand
    assert verify(plain).signature is None
    # another key, or none at all
    assert "altered, or signed with another key" in refused(signed, tmp_path, public(theirs))
    assert "not signed" in refused(plain, tmp_path, public(ours))


def test_a_signature_does_not_go_with_another_index_or_purpose(keys, make_model, tmp_path):
    ours, _ = keys
    folder = tmp_path / "bundle"
    write_folder(bundle_of(make_model(content=CONTENT), ours), folder)
    raw = (folder / INDEX).read_bytes()
    (folder / INDEX).write_bytes(raw.replace(b'"tiny"', b'"tinx"'))
    assert "altered" in refused(folder, tmp_path, public(ours))
    # a signature of ours, of these very bytes, but made as one of an e-mail
    (folder / INDEX).write_bytes(raw)
    (folder / SIGNATURE).unlink()
    subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-f", ours, "-n", "email", folder / INDEX],
        check=True, capture_output=True,
    )  # fmt: skip
    assert (folder / SIGNATURE).exists()
    assert "another key" in refused(folder, tmp_path, public(ours))


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "holds no key"), ("ssh-rsa AAAA me\n", "no public Ed25519 key"), ("junk", "no public")],
)
def test_files_of_keys_that_would_trust_nobody_or_weaker_ones(text, message, tmp_path):
    file = tmp_path / "keys"
    file.write_text(text)
    with pytest.raises(OptionError, match=message):
        signing.read_keys(file)


def test_a_key_that_cannot_sign_is_told(tmp_path):
    with pytest.raises(OptionError, match="make one: ssh-keygen"):
        signing.sign(b"x", tmp_path / "none")
    (tmp_path / "junk").write_text("junk")
    with pytest.raises(OptionError, match="cannot sign with"):
        signing.sign(b"x", tmp_path / "junk")


def test_the_verbs_verify_and_show(made, tar, tmp_path, capsys):
    assert main(["bundle", "show", str(tar)]) == 0
    assert capsys.readouterr().out.startswith(f"tiny, bundle {made.signed.key}, not signed\n")
    assert main(["bundle", "verify", str(tar)]) == 0
    assert "whole and unaltered" in capsys.readouterr().out
    tar.write_bytes(tar.read_bytes()[:3000])
    assert main(["bundle", "verify", str(tar)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("hyperseg: error: ")
    assert err.count("\n") == 1
