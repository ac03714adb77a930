"""Releases on a device: switched at once, proven before, kept for a way back."""

from __future__ import annotations

import json
import os
import shutil
import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from edge_runtime.cli import main
from edge_runtime.deploy import device, units
from edge_runtime.deploy.bundle import Contents, make, write_parts, write_tar
from edge_runtime.deploy.device import (
    InstallOptions,
    build_command,
    install,
    receive,
    rollback,
    trusted_file,
)
from edge_runtime.deploy.forms import PARTS
from edge_runtime.deploy.index import GOLDEN, INDEX, MODEL, Index, encode_index, make_entry
from edge_runtime.deploy.proof import Proof
from edge_runtime.deploy.releases import ENGINE, Releases
from edge_runtime.deploy.units import Service
from edge_runtime.errors import ArtifactError, BackendError, DeployError, OptionError
from edge_runtime.service import places
from edge_runtime.zoo import resolve_model
from export.selftest.account import Entry, Selftest
from tests.edge_runtime.deploy.bundles import bundle_of
from tests.edge_runtime.deploy.sshd import make_key


@pytest.fixture
def tar_of(make_model, tmp_path):
    """A bundle with a model of these bytes, as a tar file."""

    def write(content, key=None):
        made = bundle_of(make_model(content=content), key)
        target = tmp_path / f"{made.signed.key}.tar"
        write_tar(made, target)
        return target

    return write


@pytest.fixture
def releases(tmp_path):
    found = Releases(tmp_path / "device")
    found.prepare()
    return found


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A bundle of a shipped model, which infers, as a tar file."""
    folder = tmp_path_factory.mktemp("real")
    made = make(Contents(resolve_model("street-edge-n")), folder)
    write_tar(made, folder / "real.tar")
    return made, folder / "real.tar"


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def add(releases, tar):
    key = releases.add(tar, []).key
    releases.switch(key)
    return key


def test_there_and_back_again(releases, tar_of):
    first, second = add(releases, tar_of(b"1")), add(releases, tar_of(b"2"))
    assert (releases.current, releases.previous) == (second, first)
    assert (releases.current_link / MODEL).read_bytes() == b"2"

    assert releases.rollback() == (second, first)

    assert (releases.current_link / MODEL).read_bytes() == b"1"
    # and forth: the one that was left is the one before now
    assert releases.rollback() == (first, second)


def test_without_a_release_before_there_is_no_way_back(releases, tar_of):
    with pytest.raises(DeployError, match="no release before"):
        releases.rollback()
    key = add(releases, tar_of(b"1"))
    add(releases, tar_of(b"1"))  # the same once more is no step
    with pytest.raises(DeployError, match="no release before"):
        releases.rollback()
    assert releases.current == key


def test_old_releases_go_and_the_way_back_stays(releases, tar_of):
    keys = [add(releases, tar_of(bytes([number]))) for number in range(1, 7)]
    releases.rollback()  # so that the current one is not the newest
    releases.prune()
    left = {path.name for path in (releases.home / "releases").iterdir()}
    assert len(left) == 3
    assert {keys[4], keys[5]} <= left
    assert (releases.current, releases.previous) == (keys[4], keys[5])


def test_a_reader_of_the_link_sees_one_release_or_the_other(releases, tar_of):
    # given a link that is switched as fast as it goes
    keys = [add(releases, tar_of(content)) for content in (b"old", b"new")]
    over = threading.Event()

    def switch():
        while not over.is_set():
            for key in keys:
                releases.switch(key)

    thread = threading.Thread(target=switch)
    thread.start()
    # when it is followed again and again
    try:
        seen = {(releases.current_link / MODEL).read_bytes() for _ in range(2000)}
    finally:
        over.set()
        thread.join()
    # then it was never absent
    assert seen <= {b"old", b"new"}


def test_a_refused_bundle_leaves_nothing_and_what_runs_goes_on(releases, tar_of):
    key = add(releases, tar_of(b"good"))
    before = tree(releases.home)
    tar = tar_of(b"evil")
    tar.write_bytes(tar.read_bytes()[:-2000])
    with pytest.raises(ArtifactError):
        install(tar, InstallOptions(releases.home, consume=True), lambda line: None)
    assert tree(releases.home) == before
    assert releases.current == key
    assert not tar.exists()


def test_keys_that_are_trusted_here_are_demanded_without_being_asked_for(
    tmp_path, tar_of, monkeypatch
):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    key = make_key(tmp_path / "key")
    trusted_file().parent.mkdir(parents=True)
    shutil.copy(key.with_suffix(".pub"), trusted_file())
    options = InstallOptions(tmp_path / "device", engine=False)

    with pytest.raises(ArtifactError, match="not signed"):
        install(tar_of(b"1"), options, lambda line: None)

    assert tree(tmp_path / "device") == ["notes", "releases"]
    # and a file that was emptied by mistake does not open the door
    trusted_file().write_text("")
    with pytest.raises(OptionError, match="holds no key"):
        install(tar_of(b"1", key), options, lambda line: None)


def test_a_release_is_proven_before_it_is_used(real, tmp_path, capsys):
    _, tar = real
    home = tmp_path / "device"

    assert main(["bundle", "install", str(tar), "--into", str(home), "--json"]) == 0

    report = json.loads(capsys.readouterr().out)
    assert report["proof"]["agreement"] > 0.999
    assert report["engine"].startswith(("ONNX Runtime on the CPU: ", "TensorRT engine"))
    assert (home / "current" / MODEL).is_file()
    assert main(["bundle", "rollback", "--into", str(home)]) == 2
    assert capsys.readouterr().err.startswith("hyperseg: error: ")


def test_a_model_that_sees_something_else_here_is_not_used(real, tmp_path):
    # given a bundle whose golden mask is another model's
    import cv2
    import numpy as np

    made, _ = real
    other = tmp_path / GOLDEN
    cv2.imwrite(str(other), np.zeros((384, 512), np.uint8))
    files = {**made.files, GOLDEN: other}
    index = Index("x", "0", tuple(make_entry(path, name) for name, path in files.items()))
    raw = encode_index(index)
    wrong = replace(made, signed=replace(made.signed, raw=raw, index=index), files=files)
    write_tar(wrong, tmp_path / "wrong.tar")
    # when
    options = InstallOptions(tmp_path / "device", engine=False)
    with pytest.raises(DeployError, match=r"agrees with its sender on 0\.\d+"):
        install(tmp_path / "wrong.tar", options, lambda line: None)
    # then
    assert tree(tmp_path / "device") == ["notes", "releases"]


def test_parts_that_arrived_are_told_and_those_of_other_bundles_go(tmp_path, make_model):
    made = bundle_of(make_model(content=b"1"))
    home = tmp_path / "device"
    first = Path(receive(home, "0" * 16).incoming)
    receipt = receive(home, made.signed.key)
    incoming = Path(receipt.incoming)
    assert not first.exists()
    assert receipt.have == []
    # when some have arrived, one of them only in part
    (incoming / PARTS).rmdir()
    write_parts(made, incoming)
    present = sorted(path.name for path in (incoming / PARTS).iterdir())
    (incoming / PARTS / present[0]).rename(incoming / PARTS / f".{present[0]}.Xy12Zw")
    # then
    assert receive(home, made.signed.key).have == present[1:]
    (incoming / INDEX).unlink()
    with pytest.raises(ArtifactError, match="not complete"):
        install(incoming, InstallOptions(home), lambda line: None)


@pytest.mark.parametrize("key", ["../../etc", "", "ABCDEF0123456789", "0" * 17])
def test_a_key_that_is_none_names_no_folder(key, tmp_path):
    with pytest.raises(OptionError, match="no key"):
        receive(tmp_path, key)


def test_an_engine_is_built_from_the_calibration_table_that_came_along(releases, tar_of):
    key = add(releases, tar_of(b"1"))
    folder = releases.home / "releases" / key
    words = build_command(folder)
    assert words[:2] == ["build", str(folder / MODEL)]
    assert words[-4:-1] == ["--typing", "weak", "--calibration-cache"]
    (folder / "calibration.cache").unlink()
    assert build_command(folder)[-2:] == ["--precision", "fp16"]


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """A systemctl that takes notes, and fails while the file ``broken`` exists."""
    tools = tmp_path / "tools"
    tools.mkdir()
    log = tmp_path / "systemctl.log"
    script = tools / "systemctl"
    script.write_text(
        f'#!/bin/sh\necho "$@" >>{log}\n'
        'case "$*" in *restart*) ;; *) exit 0 ;; esac\n'
        f"if [ -e {tmp_path}/broken ]; then echo dead >&2; exit 1; fi\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(units, "SYSTEMD", tmp_path)
    return log


def test_a_service_runs_the_current_release_and_goes_back_with_it(real, systemd, tmp_path):
    _, tar = real
    home = tmp_path / "device"
    secret = tmp_path / "secret"
    secret.write_text("geheim")
    secret.chmod(0o600)
    arguments = ("rtsp://viewer:{secret:CAM}@10.0.0.2/main", "--watch-model")
    service = Service("front", "user", arguments, {"CAM": secret})
    options = InstallOptions(home, engine=False, service=service)

    # one that does not even start the first time is forgotten again
    (tmp_path / "broken").touch()
    with pytest.raises(DeployError, match="did not start"):
        install(tar, options, lambda line: None)
    assert tree(home) == ["notes", "releases"]
    (tmp_path / "broken").unlink()

    report = install(tar, options, lambda line: None)

    assert report.service == "hyperseg-front"
    unit = (tmp_path / ".config/systemd/user/hyperseg-front.service").read_text()
    assert f"run {home}/current/model.onnx rtsp://viewer:" in unit
    assert f"LoadCredential=CAM:{secret}" in unit
    assert "--user restart hyperseg-front" in systemd.read_text()
    # when a later release does not start
    first = Releases(home).current
    other = replace(options, service=Service("front", "user", ("test:", "--threads", "1")))
    (tmp_path / "broken").touch()
    changed = make_bundle_with_notes(tmp_path)
    with pytest.raises(DeployError, match=r"hyperseg-front did not start \(dead\)"):
        install(changed, other, lambda line: None)
    # then all is as it was, the unit included
    assert Releases(home).current == first
    assert tree(home / "releases") == tree_of_one(home, first)
    unit = (tmp_path / ".config/systemd/user/hyperseg-front.service").read_text()
    assert "--watch-model" in unit
    # and when one does start, the way back restarts it too
    (tmp_path / "broken").unlink()
    install(changed, InstallOptions(home, engine=False), lambda line: None)
    systemd.unlink()
    rollback(home)
    assert Releases(home).current == first
    assert "--user restart hyperseg-front" in systemd.read_text()


def test_a_selftest_that_does_not_pass_leaves_the_device_as_it_is(real, tmp_path, monkeypatch):
    # given a program that answers as `hyperseg selftest` does
    script = tmp_path / "hyperseg"
    script.write_text(
        f"#!/bin/sh\ncd {tmp_path}\n"
        'if [ -e failed.json ]; then cp failed.json "$4"; echo "parity chain" >&2; exit 3; fi\n'
        'if [ -e broken ]; then echo "hyperseg: error: no export" >&2; exit 2; fi\n'
        'echo "{\\"step\\": \\"$1\\"}" >"$4"\n'
    )
    script.chmod(0o755)
    monkeypatch.setattr("edge_runtime.deploy.selftest.program", lambda: (str(script),))
    options = InstallOptions(tmp_path / "device", engine=False, selftest=True)
    # that wrote its account: what failed is named, not what it did last
    test = Selftest(
        [
            Entry("build", "engine int8", "failed", "no such tactic"),
            Entry("latency", "engine int8", "not run", "it was not built"),
            Entry("parity", "all forms", "failed"),
        ]
    )
    (tmp_path / "failed.json").write_text(json.dumps(test.as_json()))
    expected = r"here: build engine int8 \(no such tactic\); parity all forms; not installed$"
    with pytest.raises(DeployError, match=expected):
        install(real[1], options, lambda line: None)
    assert tree(tmp_path / "device") == ["notes", "releases"]
    (tmp_path / "failed.json").unlink()
    # that ended before it had one
    (tmp_path / "broken").touch()
    with pytest.raises(DeployError, match="does not pass here: no export; not installed"):
        install(real[1], options, lambda line: None)
    assert tree(tmp_path / "device") == ["notes", "releases"]
    (tmp_path / "broken").unlink()
    assert install(real[1], options, lambda line: None).selftest == {"step": "selftest"}


@pytest.mark.parametrize("kind", ["symlink", "pipe", "other", "longer", "missing"])
def test_parts_that_are_not_what_their_names_say(kind, releases, make_model, tmp_path):
    made = bundle_of(make_model(content=b"model" * 100))
    incoming = Path(receive(releases.home, made.signed.key).incoming)
    (incoming / PARTS).rmdir()
    write_parts(made, incoming)
    part = incoming / PARTS / made.signed.index.files[0].parts[0]
    content = part.read_bytes()
    part.unlink()
    if kind == "symlink":
        (tmp_path / "elsewhere").write_bytes(content)
        part.symlink_to(tmp_path / "elsewhere")
    elif kind == "pipe":
        os.mkfifo(part)
    elif kind != "missing":
        part.write_bytes(content + b"x" if kind == "longer" else content[::-1])
    with pytest.raises(ArtifactError):
        install(incoming, InstallOptions(releases.home, consume=True), lambda line: None)
    assert tree(releases.home) == ["incoming", "notes", "releases"]


def make_bundle_with_notes(folder):
    """The shipped model with another manifest: another bundle."""
    source = resolve_model("street-edge-n")
    copy = folder / "copy" / source.name
    copy.parent.mkdir()
    shutil.copy(source, copy)
    text = source.with_name(source.name + ".json").read_text()
    given = json.loads(text)
    given["notes"] = "changed"
    copy.with_name(copy.name + ".json").write_text(json.dumps(given))
    aside = folder / "aside"
    aside.mkdir()
    write_tar(make(Contents(copy), aside), folder / "changed.tar")
    return folder / "changed.tar"


def tree_of_one(home, key):
    files = tree(home / "releases" / key)
    return sorted([key, *(f"{key}/{name}" for name in files)])


def test_the_account_of_a_service_stays_with_later_releases(tmp_path, monkeypatch):
    monkeypatch.setitem(places._FOLDERS, "system", str(tmp_path))
    service = Service("front", "system", ("csi://0",), account="root")
    units.write_unit(service, tmp_path, tmp_path / "current" / "model.onnx")
    assert "\nUser=root\n" in (tmp_path / "hyperseg-front.service").read_text()
    assert units.read_service(tmp_path) == service


def test_a_service_is_refused_before_anything_happens_where_there_is_no_systemd(
    tar_of, tmp_path, monkeypatch
):
    monkeypatch.setattr(units, "SYSTEMD", tmp_path / "none")
    options = InstallOptions(tmp_path / "device", service=Service("x", "user", ()))
    with pytest.raises(OptionError, match="needs systemd"):
        install(tar_of(b"1"), options, lambda line: None)
    assert not (tmp_path / "device").exists()
    # and arguments that are no run's, where there is
    monkeypatch.setattr(units, "SYSTEMD", tmp_path)
    system = Service("x", "system", ("csi://0",))
    with pytest.raises(OptionError, match="--as USER"):
        install(tar_of(b"1"), replace(options, service=system), lambda line: None)
    unknown = replace(system, account="no-such-account")
    with pytest.raises(OptionError, match="no account 'no-such-account' here"):
        install(tar_of(b"1"), replace(options, service=unknown), lambda line: None)
    service = Service("x", "user", ("test:", "--nonsense"))
    with pytest.raises(OptionError, match="nonsense"):
        install(tar_of(b"1"), replace(options, service=service), lambda line: None)
    # and an output in a folder that the service could not make
    service = Service("x", "user", ("test:", "--report", f"{tmp_path}/none/r.json"))
    with pytest.raises(OptionError, match=f"no folder {tmp_path}/none, where an output is to lie"):
        install(tar_of(b"1"), replace(options, service=service), lambda line: None)
    assert not (tmp_path / "device").exists()


def test_a_service_that_could_not_be_written_again_is_told_before_anything_moves(
    releases, tar_of, systemd, tmp_path, monkeypatch
):
    # given the note of a version that knew no accounts, whose service needs one now
    monkeypatch.setitem(places._FOLDERS, "system", str(tmp_path / "system"))
    first, second = add(releases, tar_of(b"1")), add(releases, tar_of(b"2"))
    note = {"name": "front", "manager": "system", "arguments": ["test:", "--report", "/tmp/r.json"]}
    (releases.home / units.NOTE).write_text(json.dumps({**note, "secrets": {}}))
    before = tree(releases.home)
    told = "an output goes to /tmp, .* --as USER.* hyperseg deploy DEVICE MODEL --service front "
    # when it goes back, or on to a third release
    with pytest.raises(OptionError, match=told):
        rollback(releases.home)
    with pytest.raises(OptionError, match=told):
        install(tar_of(b"3"), InstallOptions(releases.home), lambda line: None)
    # then nothing was touched
    assert (releases.current, releases.previous) == (second, first)
    assert tree(releases.home) == before
    assert not systemd.exists()
    # and with an account it goes back
    (tmp_path / "system").mkdir()
    (releases.home / units.NOTE).write_text(json.dumps({**note, "account": "root"}))
    assert rollback(releases.home) == (second, first)
    assert "restart hyperseg-front" in systemd.read_text()


def test_a_service_that_cannot_go_back_does_not_hide_why_the_new_one_failed(
    releases, tar_of, real, systemd, tmp_path
):
    # given a service of an earlier version, and a new one that does not start
    key = add(releases, tar_of(b"1"))
    note = {"name": "old", "manager": "system", "arguments": ["csi://0"], "secrets": {}}
    (releases.home / units.NOTE).write_text(json.dumps(note))
    (tmp_path / "broken").touch()
    service = Service("front", "user", ("test:",))

    with pytest.raises(DeployError, match=r"hyperseg-front did not start \(dead\)"):
        install(real[1], InstallOptions(releases.home, engine=False, service=service), print)

    assert releases.current == key


def test_who_is_not_root_is_told_to_make_services_of_a_user(tmp_path, monkeypatch):
    assert receive(tmp_path, "0" * 16).manager == ("system" if os.getuid() == 0 else "user")
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    assert receive(tmp_path, "0" * 16).manager == "user"


@pytest.fixture
def gpu(tmp_path, monkeypatch):
    """A machine on which engines can be built, by a program that takes notes, and run.

    What runs them is stood in for, as no GPU is here: an engine of the bytes ``old`` does not load.
    """
    log = tmp_path / "build.log"
    script = tmp_path / "hyperseg"
    script.write_text(f'#!/bin/sh\necho "$@" >>{log}\nprintf new >"$4"\n')
    script.chmod(0o755)
    monkeypatch.setattr(device, "program", lambda: (str(script),))
    monkeypatch.setattr(device, "_why_no_engine", lambda: None)

    def check(path, golden):
        if path.read_bytes() == b"old":
            raise BackendError(f"{path} is of TensorRT 10.3, here is 10.7; build it here")
        return Proof(path.name, 1.0, 1.0, True)

    monkeypatch.setattr(device, "check_golden", check)
    return log


def test_an_engine_that_does_not_load_any_more_is_built_anew(real, gpu, tmp_path):
    # given an installed release with its engine, and TensorRT changed since
    home = tmp_path / "device"
    install(real[1], InstallOptions(home), lambda line: None)
    engine = home / "current" / ENGINE
    assert engine.read_bytes() == b"new"
    install(real[1], InstallOptions(home), lambda line: None)
    assert len(gpu.read_text().splitlines()) == 1  # one that loads is kept
    engine.write_bytes(b"old")
    said = []

    # when the same is deployed again
    report = install(real[1], InstallOptions(home), said.append)

    # then
    assert report.engine == "TensorRT engine, built here"
    assert report.proof.backend == ENGINE
    assert engine.read_bytes() == b"new"
    assert any("does not run any more: " in line and "is of TensorRT 10.3" in line for line in said)


def test_without_an_engine_the_model_is_proven_and_served(real, gpu, systemd, tmp_path):
    # given a service that runs the engine of a release
    home = tmp_path / "device"
    service = Service("front", "user", ("test:",))
    install(real[1], InstallOptions(home, service=service), lambda line: None)
    unit = tmp_path / ".config/systemd/user/hyperseg-front.service"
    assert f"run {home}/current/{ENGINE} test:" in unit.read_text()

    # when the same is deployed without, and does not start
    (tmp_path / "broken").touch()
    with pytest.raises(DeployError, match="did not start"):
        install(real[1], InstallOptions(home, engine=False), lambda line: None)
    assert f"run {home}/current/{ENGINE} test:" in unit.read_text()
    assert (home / "current" / ENGINE).exists()
    (tmp_path / "broken").unlink()
    report = install(real[1], InstallOptions(home, engine=False), lambda line: None)

    # then what is reported is what infers, after another start too
    assert report.engine == "ONNX Runtime on the CPU: no engine was wanted"
    assert report.proof.backend == MODEL
    assert f"run {home}/current/{MODEL} test:" in unit.read_text()
    assert not (home / "current" / ENGINE).exists()


def test_a_new_service_that_does_not_start_is_stopped_and_disabled(real, systemd, tmp_path):
    home = tmp_path / "device"
    install(real[1], InstallOptions(home, engine=False), lambda line: None)
    (tmp_path / "broken").touch()
    service = Service("front", "user", ("test:",))

    with pytest.raises(DeployError, match="did not start"):
        install(real[1], InstallOptions(home, engine=False, service=service), lambda line: None)

    assert systemd.read_text().splitlines()[-1] == "--user disable --now hyperseg-front"
    assert units.read_service(home) is None


def test_ctrl_c_while_systemd_waits_leaves_the_release_before(real, systemd, tmp_path, monkeypatch):
    # given a service with a release
    home = tmp_path / "device"
    service = Service("front", "user", ("test:",))
    options = InstallOptions(home, engine=False, service=service)
    install(real[1], options, lambda line: None)
    first = Releases(home).current
    started = []

    def interrupted(service):
        started.append((home / "current").readlink().name)
        if len(started) == 1:
            raise KeyboardInterrupt
        return "hyperseg-front"

    monkeypatch.setattr(device, "start", interrupted)

    # when the next one is interrupted before its first mask
    with pytest.raises(KeyboardInterrupt):
        install(make_bundle_with_notes(tmp_path), options, lambda line: None)

    # then the one before is current, and was started again
    assert Releases(home).current == first
    assert started[0] != first
    assert started[1:] == [first]
    assert tree(home / "releases") == tree_of_one(home, first)


def test_releases_have_one_service_which_all_of_them_restart(real, systemd, tmp_path):
    home = tmp_path / "device"
    service = Service("front", "user", ("test:",))
    install(real[1], InstallOptions(home, engine=False, service=service), lambda line: None)
    rear = InstallOptions(home, engine=False, service=replace(service, name="rear"))

    told = "'front' runs the releases .*, first `hyperseg service uninstall front --user`, or"
    with pytest.raises(OptionError, match=told):
        install(real[1], rear, lambda line: None)

    assert units.read_service(home) == service
    (tmp_path / ".config/systemd/user/hyperseg-front.service").unlink()  # as uninstall does
    assert install(real[1], rear, lambda line: None).service == "hyperseg-rear"
