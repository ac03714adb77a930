"""The unit file of a service, judged by systemd itself where it is installed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from fnmatch import fnmatch
from pathlib import Path

import pytest

from edge_runtime.cli import main
from edge_runtime.errors import OptionError
from edge_runtime.service import places
from edge_runtime.service.command import parse_command
from edge_runtime.service.places import unit_path
from edge_runtime.service.secrets import reveal
from edge_runtime.service.status import CameraStatus, Status, illness, read_status, write_status
from edge_runtime.service.unit import UnitOptions, make_unit, quote
from edge_runtime.sinks.blackbox.spool import KEPT_VARIABLE

PLAIN = ("run", "street-edge-n", "/dev/video0")
S = 10**9


def directives(text):
    """Section -> directive -> values, in order."""
    found, section = {}, None
    for line in text.splitlines():
        if line.startswith("["):
            section = found.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            section.setdefault(key, []).append(value)
    return found


def service_of(*words, **options):
    return directives(make_unit("front", parse_command(words), UnitOptions(**options)))["Service"]


def test_a_unit_is_ready_watched_and_restarted_within_limits():
    unit = directives(make_unit("front", parse_command(PLAIN), UnitOptions(watchdog_s=20)))
    service = unit["Service"]
    assert service["Type"] == ["notify"]
    assert service["WatchdogSec"] == ["20"]
    assert service["Restart"] == ["on-failure"]
    assert service["RestartPreventExitStatus"] == ["2"]
    assert service["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert unit["Unit"]["StartLimitIntervalSec"] == ["60"]
    assert unit["Unit"]["StartLimitBurst"] == ["5"]
    assert service["DynamicUser"] == ["yes"]
    assert service["ProtectSystem"] == ["strict"]
    assert "ReadWritePaths" not in service


@pytest.mark.parametrize(
    ("options", "kept"),
    [({}, True), ({"account": "robot"}, False), ({"manager": "user"}, False)],
)
def test_what_a_killed_run_left_is_kept_from_the_emptying_of_shared_memory(options, kept):
    service = service_of(*PLAIN, **options)
    assert service.get("RuntimeDirectoryPreserve") == (["yes"] if kept else None)
    assert (f"{KEPT_VARIABLE}=%t/hyperseg-front" in service["Environment"]) == kept


@pytest.mark.parametrize(
    ("sinks", "umask"), [((), "0027"), (("out.mkv",), "0027"), (("null", "shm:front"), "0022")]
)
def test_masks_in_shared_memory_can_be_read_by_other_accounts(sinks, umask):
    words = [word for sink in sinks for word in ("--sink", sink)]
    assert service_of(*PLAIN, *words)["UMask"] == [umask]


@pytest.mark.parametrize(
    ("words", "writable"),
    [
        (("--sink", "out.mkv"), None),
        (("--sink", "/data/a/out.mkv"), "-/data/a"),
        (("--sink", "/data/{camera}/x.mkv", "--report", "/srv/r.json"), "-/data -/srv"),
        (("--sink", "masks:/data/masks", "--sink", "shm:front", "--sink", "null"), "-/data"),
        (("--frames-log", "/with space/log.jsonl"), '"-/with space"'),
    ],
)
def test_only_folders_of_outputs_are_writable(words, writable):
    expected = None if writable is None else [writable]
    assert service_of(*PLAIN, *words).get("ReadWritePaths") == expected


@pytest.mark.parametrize("account", [None, "robot"])
@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (PLAIN, None),
        ((*PLAIN, "--report", "/tmpfs/r.json"), None),
        (("run", "street-edge-n", "rtsp://h/tmp/main"), None),
        (("run", "street-edge-n", "csi://0"), "/tmp/argus_socket"),
        (("run", "street-edge-n", "front=csi://0", "test:"), "/tmp/argus_socket"),
        ((*PLAIN, "--report", "/tmp/r.json"), "^an output goes to /tmp,"),
        ((*PLAIN, "--sink", "/var/tmp/{camera}/o.mkv"), "^an output goes to /var/tmp,"),
        (("run", "street-edge-n", "file:///tmp/late.mp4"), "late.mp4 lies in /tmp,"),
        (("run", "street-edge-n", "file:///var/tmp/late.mp4"), "late.mp4 lies in /var/tmp,"),
        (("run", "street-edge-n", "left=/tmp/late.mp4"), "late.mp4 lies in /tmp,"),
    ],
)
def test_an_account_made_for_a_service_never_has_the_tmp_of_the_machine(words, reason, account):
    # DynamicUser= implies PrivateTmp=, and no directive turns that off
    if reason is not None and account is None:
        with pytest.raises(OptionError, match=reason) as caught:
            service_of(*words)
        assert "--as USER" in str(caught.value)
        assert "\n" not in str(caught.value)
        return
    service = service_of(*words, account=account)
    assert service["PrivateTmp"] == ["yes" if reason is None else "no"]
    assert service.get("DynamicUser") == (["yes"] if account is None else None)
    assert service.get("User") == (None if account is None else [account])


def test_a_user_s_own_service_sees_the_tmp_of_the_machine():
    service = service_of("run", "street-edge-n", "csi://0", manager="user")
    assert not {"PrivateTmp", "DynamicUser", "User"} & set(service)


def test_a_model_in_tmp_is_seen_by_an_account_that_exists_before():
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        model = Path(folder) / "my.onnx"
        model.touch()
        with pytest.raises(OptionError, match=r"my\.onnx lies in /tmp"):
            service_of("run", str(model), "test:")
        assert service_of("run", str(model), "test:", account="robot")["PrivateTmp"] == ["no"]


def test_a_service_is_installed_for_an_account_that_is_there_only(capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(places._FOLDERS, "system", str(tmp_path))
    words = ["--as", "no-such-account", "--", "run", "street-edge-n", "csi://0"]
    assert main(["service", "install", "front", *words]) == 2
    assert "useradd --system --shell /usr/sbin/nologin no-such-account" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    words[1] = "root"
    assert main(["service", "install", "front", *words]) == 0


def test_a_service_is_installed_only_if_the_folders_of_its_outputs_are_there(
    capsys, monkeypatch, tmp_path
):
    monkeypatch.setitem(places._FOLDERS, "system", str(tmp_path))
    boxes = tmp_path / "robot" / "boxes"
    words = ["service", "install", "front", "--as", "root", "--", *PLAIN, "--sink",
             f"blackbox:{boxes}"]  # fmt: skip

    assert main(words) == 2
    assert f"no folder {boxes.parent}, where an output is to lie" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []

    boxes.parent.mkdir()
    assert main(words) == 0


@pytest.mark.parametrize(
    "name",
    ["17000000.gpu", "17000000.ga10b", "17000000.gv11b", "0000:01:00.0", "drm", "video4linux",
     "nvidia-uvm"],
)  # fmt: skip
def test_the_nodes_of_jetsons_gpus_are_allowed_by_their_names_in_proc_devices(name):
    patterns = [value.split()[0] for value in service_of(*PLAIN)["DeviceAllow"]]
    assert any(fnmatch(f"char-{name}", pattern) for pattern in patterns)


@pytest.mark.parametrize("name", ["mem", "input", "ttyS", "hidraw", "cpu/msr", "misc"])
def test_other_devices_are_not(name):
    patterns = [value.split()[0] for value in service_of(*PLAIN)["DeviceAllow"]]
    assert not any(fnmatch(f"char-{name}", pattern) for pattern in patterns)


def test_files_that_are_read_get_absolute_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("clip.mp4", "rules.json", "my.onnx"):
        Path(name).touch()
    command = parse_command(["run", "my.onnx", "clip.mp4", "left=clip.mp4", "--rules=rules.json",
                             "--sink", "jsonl:out.jsonl"])  # fmt: skip
    here = str(tmp_path)
    assert command.words == ("run", f"{here}/my.onnx", f"{here}/clip.mp4", f"left={here}/clip.mp4",
                             f"--rules={here}/rules.json", "--sink", "jsonl:out.jsonl")  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("bench", "x"), "made of a run"),
        (("run", "street-edge-n"), "Missing argument"),
        ((*PLAIN, "--sink", "out.gif"), "sink 'out.gif'"),
        (("run", "m", "rtsp://admin:hunter2@10.0.0.2/"), "{secret:NAME}"),
        (("run", "m", "rtsp://admin:{secret:PW}@10.0.0.2/"), "no secret 'PW'"),
    ],
)
def test_what_cannot_work_is_refused(words, message):
    with pytest.raises(OptionError) as caught:
        make_unit("front", parse_command(words), UnitOptions())
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_secrets_are_loaded_and_stand_in_no_unit(tmp_path):
    file = tmp_path / "pw"
    file.write_text("hunter2\n")
    file.chmod(0o640)
    with pytest.raises(OptionError, match="chmod 600"):
        UnitOptions(secrets={"PW": file})
    file.chmod(0o600)

    command = parse_command(["run", "m", "rtsp://admin:{secret:PW}@10.0.0.2/"])
    text = make_unit("front", command, UnitOptions(secrets={"PW": file}))

    assert f"LoadCredential=PW:{file}" in text
    assert "hunter2" not in text


def test_a_secret_is_a_file_or_else_a_variable(tmp_path):
    (tmp_path / "PW").write_text(" from-file \n")
    text = "rtsp://a:{secret:PW}@h/{camera}"
    folder = {"CREDENTIALS_DIRECTORY": str(tmp_path), "PW": "from-variable"}
    assert reveal(text, folder) == "rtsp://a:from-file@h/{camera}"
    assert reveal(text, {"PW": "from-variable"}) == "rtsp://a:from-variable@h/{camera}"
    with pytest.raises(OptionError, match="no secret 'PW'"):
        reveal(text, {})


@pytest.mark.parametrize(
    "word", ["", "a b", "100%", "$HOME", "say \"hi\" 'x'", "back\\slash", "a;b"]
)
def test_words_reach_the_run_as_they_are(word):
    quoted = quote(word)
    plain = quoted.replace("%%", "%").replace("$$", "$")
    assert shlex.split(plain if plain.startswith('"') else shlex.quote(word)) == [word]


@pytest.mark.parametrize("name", ["", "../x", "a b", "-x", "é"])
def test_a_name_is_no_path(name, tmp_path):
    with pytest.raises(OptionError, match="service name"):
        unit_path(name, "system", tmp_path)


def test_install_show_and_uninstall(tmp_path, capsys):
    words = ["--output", str(tmp_path)]
    assert main(["service", "install", "front", *words, "--memory-max", "2G", "--as", "robot",
                 "--", *PLAIN, "--sink", "o.mkv"]) == 0  # fmt: skip
    assert "systemctl enable --now hyperseg-front" in capsys.readouterr().out
    assert main(["service", "show", "front", *words]) == 0
    text = capsys.readouterr().out
    assert "User=robot" in text
    assert "DynamicUser" not in text
    assert "MemoryMax=2G" in text
    assert main(["service", "uninstall", "front", *words]) == 0
    assert main(["service", "show", "front", *words]) == 2
    assert list(tmp_path.iterdir()) == []


def analyze(*words):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze: apt-get install systemd")
    done = subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False)
    if "Unknown option" in done.stderr or "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze is too old: " + done.stderr.strip())
    return done


@pytest.mark.parametrize("flag", [[], ["--user"]])
def test_systemd_accepts_the_unit(flag, tmp_path):
    assert main(["service", "install", "front", *flag, "--output", str(tmp_path), "--", *PLAIN,
                 "--sink", "/data/a b$c%d.mkv"]) == 0  # fmt: skip
    done = analyze("verify", str(tmp_path / "hyperseg-front.service"))
    assert done.returncode == 0, done.stderr
    assert "hyperseg-front" not in done.stderr


def test_systemd_rates_the_unit_as_shut_in(tmp_path):
    assert main(["service", "install", "front", "--output", str(tmp_path), "--", *PLAIN]) == 0
    done = analyze("security", "--offline=true", str(tmp_path / "hyperseg-front.service"))
    score = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert score is not None, done
    assert float(score[1]) <= 2.5


def status_of(age_s=0.5, written_ns=100 * S):
    camera = CameraStatus("front", "up", 30.0, age_s)
    return Status("running", os.getpid(), "abc", 7, written_ns, (camera,))


@pytest.mark.parametrize(
    ("status", "now_ns", "reason"),
    [
        (status_of(), 101 * S, None),
        (status_of(), 110 * S, "10.5 s old, more than 10 s"),
        (status_of(age_s=11.0), 100 * S, "11.0 s old"),
        (status_of(age_s=None), 101 * S, "no mask yet"),
        (status_of(), 50 * S, "before the machine was started"),
    ],
    ids=["well", "hangs or was killed", "no signal", "begins", "before a reboot"],
)
def test_health_is_the_age_of_the_last_mask(status, now_ns, reason):
    found = illness(status, 10.0, now_ns)
    assert found is None if reason is None else reason in found


def test_a_status_file_comes_back_and_a_full_disk_harms_nothing(tmp_path):
    path = tmp_path / "status.json"
    write_status(path, status_of())
    assert read_status(path) == status_of()
    write_status(tmp_path / "missing" / "status.json", status_of())
    path.write_text("{")
    assert main(["service", "health", "--status", str(path)]) == 1
    assert main(["service", "health"]) == 2
