"""The doctor on recorded boards with one thing wrong at a time, and on this machine."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from edge_runtime.cli import main
from edge_runtime.doctor.camera_checks import check_cameras
from edge_runtime.doctor.examine import examine
from edge_runtime.doctor.gst_answer import ask_gstreamer, registry_file
from edge_runtime.doctor.gst_checks import check_gstreamer
from edge_runtime.doctor.host_checks import check_container, check_services
from edge_runtime.doctor.inference_checks import check_inference
from edge_runtime.doctor.limit_checks import MIB, check_disk, check_limits, check_memory, granted
from edge_runtime.doctor.machine import Interpreter, Machine, Space
from edge_runtime.doctor.power_checks import check_power
from edge_runtime.doctor.python_checks import check_interpreter
from edge_runtime.doctor.subject_checks import check_model, check_source
from edge_runtime.doctor.v4l2 import CameraModes, Mode
from tests.edge_runtime.doctor.machines import NOTHING, answer, jetson, only, outcome
from tests.edge_runtime.telemetry.boards import BOARDS, Writer

WEBCAM = CameraModes(
    "HD Webcam", "uvcvideo", True, (Mode("YUYV", 480, 640, 30.0), Mode("MJPG", 1080, 1920, 30.0))
)


@pytest.mark.parametrize("board", sorted(BOARDS))
def test_a_board_as_it_should_be_has_no_problem_and_no_warning(board, tmp_path):
    diagnosis = examine(jetson(tmp_path, board))

    bad = [finding for finding in diagnosis.findings if finding.status in ("warning", "problem")]
    assert [finding for finding in bad if finding.check != "packages.pins"] == []
    assert diagnosis.exit_code == 0
    assert diagnosis.device.l4t is not None


def test_every_complaint_says_what_was_expected_and_what_mends_it(tmp_path):
    # given a machine on which nearly everything is wrong
    machine = jetson(
        tmp_path,
        python=Interpreter((3, 12, 1), "/usr/bin/python3.12", "/usr", "/usr"),
        package=lambda name: None,
        gpu=lambda: NOTHING,
        gstreamer=lambda machine, names: answer(elements=frozenset(), blacklisted=("/a.so",)),
        space=lambda place: Space(MIB, 64 * MIB, 0, read_only=False),
    )
    Writer(machine.root)("var/lib/nvpmodel/status", "pmode:0001")
    Writer(machine.root)("etc/nv_tegra_release", "# R35 (release), REVISION: 4.1, GCID: 1")
    (machine.root / "dev/nvmap").unlink()
    # when
    diagnosis = examine(machine, source="rtsp://127.0.0.1:1/x", model="none.onnx")
    # then
    bad = [finding for finding in diagnosis.findings if finding.status in ("warning", "problem")]
    assert len(bad) > 20
    assert all(finding.expected and finding.fix for finding in bad)
    assert all("\n" not in finding.seen + finding.fix for finding in diagnosis.findings)
    assert diagnosis.exit_code == 1


def test_a_venv_without_the_systems_packages_is_a_problem(tmp_path):
    machine = jetson(tmp_path)
    Path(machine.python.prefix, "pyvenv.cfg").write_text("include-system-site-packages = false\n")

    found = only(check_interpreter(machine), "python.environment")

    assert found.status == "problem"
    assert f"--system-site-packages --clear {machine.python.prefix}" in found.fix


def test_bindings_of_another_python_are_named(tmp_path):
    machine = jetson(tmp_path, python=Interpreter((3, 12, 0), "python3.12", "/usr", "/usr"))
    extension = "usr/lib/python3/dist-packages/gi/_gi.cpython-310-aarch64-linux-gnu.so"
    Writer(machine.root)(extension, "")

    found = only(check_interpreter(machine), "python.bindings-version")

    assert found.status == "problem"
    assert "Python 3.12; the system's GStreamer bindings are for 3.10" in found.seen


@pytest.mark.parametrize(
    ("changes", "check", "status", "fix"),
    [
        ({"error": "ImportError: no gi"}, "gstreamer.bindings", "problem", "python3-gi"),
        ({"version": "1.16.3"}, "gstreamer.version", "problem", "upgrade"),
        ({"blacklisted": ("/p/libgstnv.so",)}, "gstreamer.blacklist", "warning", "rm -f "),
        ({"registry_state": "absent", "took_s": 9.0}, "gstreamer.registry", "warning", "inspect"),
        ({"registry_state": "stale"}, "gstreamer.registry", "ok", ""),
        ({"elements": frozenset()}, "elements.nvv4l2decoder", "problem", "nvidia-l4t-gstreamer"),
        ({"elements": frozenset()}, "elements.decode-h264", "problem", "gstreamer1.0-libav"),
        ({"elements": frozenset()}, "elements.encode-h264", "warning", "plugins-ugly"),
    ],
)
def test_what_gstreamer_lacks(changes, check, status, fix, tmp_path):
    machine = jetson(tmp_path, gstreamer=lambda machine, names: answer(**changes))

    found = only(check_gstreamer(machine), check)

    assert found.status == status
    assert fix in found.fix


def test_a_plugin_file_that_the_registry_remembers_as_broken(tmp_path):
    loader = {"loads_python": True}
    machine = jetson(tmp_path, gstreamer=lambda machine, names: answer(**loader))
    Writer(machine.home)(".gstreamer-1.0/plugins/python/hyperseg_plugin.py", "")

    found = only(check_gstreamer(machine), "gstreamer.element")

    assert found.status == "problem"
    assert found.fix.startswith("rm -f /tmp/registry.aarch64.bin")
    # and without the loader that is what has to be installed
    loader["loads_python"] = False
    found = only(check_gstreamer(machine), "gstreamer.element")
    assert "python3-plugin-loader" in found.fix


@pytest.mark.parametrize(
    ("release", "status"),
    [
        ("# R36 (release), REVISION: 4.3, GCID: 1", "ok"),
        ("# R35 (release), REVISION: 4.1, GCID: 1", "problem"),
        ("# R36 (release), REVISION: 3.0, GCID: 1", "problem"),
        ("# R99 (release), REVISION: 1.0, GCID: 1", "warning"),
    ],
)
def test_the_jetpack_is_told_from_the_release(release, status, tmp_path):
    machine = jetson(tmp_path)
    Writer(machine.root)("etc/nv_tegra_release", release)
    assert only(check_inference(machine), "inference.jetpack").status == status


def test_what_does_not_belong_to_the_jetpack_is_told(tmp_path):
    machine = jetson(tmp_path)
    status = machine.root / "var/lib/dpkg/status"
    status.write_text(status.read_text().replace("10.3.0", "10.7.0"))
    Writer(machine.root)("usr/local/cuda/version.json", "{}")

    found = {finding.check: finding for finding in check_inference(machine)}

    assert found["inference.tensorrt-library"].status == "warning"
    assert "10.7.0.30-1, with JetPack 6.1 or 6.2" in found["inference.tensorrt-library"].seen
    assert found["inference.cuda"].status == "problem"


def test_tensorrt_that_the_environment_does_not_see(tmp_path):
    machine = jetson(tmp_path, package={"onnxruntime": "1", "cuda-bindings": "13.0.3"}.get)

    found = {finding.check: finding for finding in check_inference(machine)}

    assert "--system-site-packages" in found["inference.tensorrt"].fix
    assert found["inference.cuda-bindings"].status == "problem"  # the driver serves 12.6
    assert found["inference.cuda-bindings"].fix == "pip install 'cuda-bindings==12.*'"


def test_cameras_with_modes_lasting_names_and_their_users(tmp_path):
    # given two nodes, the second of which gives metadata, and a program that has the first open
    machine = jetson(tmp_path, uid=0, modes=lambda device: modes.get(device.name))
    modes = {"video0": WEBCAM, "video1": replace(WEBCAM, captures=False, modes=())}
    write = Writer(machine.root)
    write("dev/video0", "")
    write("dev/video1", "")
    link = machine.root / "dev/v4l/by-path/pci-0:1:1.0-video-index0"
    link.parent.mkdir(parents=True)
    link.symlink_to("../../video0")
    # when
    (free,) = check_cameras(machine)
    write("proc/812/comm", "cheese")
    (machine.root / "proc/812/fd").mkdir()
    (machine.root / "proc/812/fd/9").symlink_to("/dev/video0")
    (busy,) = check_cameras(machine)
    # then
    assert free.status == "ok"
    assert free.seen.startswith("/dev/v4l/by-path/pci-0:1:1.0-video-index0: HD Webcam (uvcvideo)")
    assert free.seen.endswith("MJPG 1080x1920 at 30; YUYV 480x640 at 30")
    assert busy.status == "warning"
    assert "opened by cheese (812)" in busy.seen


@pytest.mark.parametrize(
    ("mode", "member", "status"),
    [
        (0o660, True, "ok"),
        (0o660, False, "problem"),
        (0o666, False, "ok"),
        (0o600, True, "problem"),
    ],
)
def test_who_may_open_a_camera(mode, member, status, tmp_path):
    machine = jetson(tmp_path, uid=12_345, modes=lambda device: WEBCAM)
    Writer(machine.root)("dev/video0", "")
    device = machine.root / "dev/video0"
    device.chmod(mode)
    groups = frozenset({device.stat().st_gid} if member else ())

    (found,) = check_cameras(replace(machine, groups=groups))

    assert found.status == status
    assert status == "ok" or found.fix.startswith("sudo usermod -aG ")


def test_a_camera_that_does_not_answer_is_a_problem(tmp_path):
    machine = jetson(tmp_path, uid=0)
    Writer(machine.root)("dev/video0", "")
    (found,) = check_cameras(machine)
    assert found.status == "problem"


def test_a_slower_power_mode_and_floating_clocks(tmp_path):
    machine = jetson(tmp_path)
    BOARDS["orin-nano"].write(machine.root)  # as it is delivered: mode 1, clocks not fixed

    found = {finding.check: finding for finding in check_power(machine)}

    assert found["power.mode"].status == "warning"
    assert found["power.mode"].fix == "sudo nvpmodel -m 0"
    assert found["power.jetson-clocks"].fix == "sudo jetson_clocks"


def test_the_fastest_mode_is_told_by_its_name(tmp_path):
    machine = jetson(tmp_path)
    modes = "".join(
        f"< POWER_MODEL ID={i} NAME={name} >\n"
        for i, name in enumerate(("15W", "25W", "MAXN_SUPER", "7W"))
    )
    Writer(machine.root)("etc/nvpmodel.conf", modes)
    assert only(check_power(machine), "power.mode").fix == "sudo nvpmodel -m 2"


@pytest.mark.parametrize(
    ("governor", "driver", "status"),
    [
        ("powersave", "cpufreq-dt", "warning"),
        ("powersave", "intel_pstate", "ok"),
        ("schedutil", "tegra194", "ok"),
    ],
)
def test_the_governor(governor, driver, status, tmp_path):
    write = Writer(tmp_path)
    write("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", governor)
    write("sys/devices/system/cpu/cpu0/cpufreq/scaling_driver", driver)
    assert only(check_power(Machine(root=tmp_path)), "power.governor").status == status


def test_throttling_at_this_moment(tmp_path):
    machine = jetson(tmp_path)
    Writer(machine.root)("sys/class/thermal/cooling_device0/cur_state", 1)
    found = only(check_power(machine), "power.heat")
    assert found.status == "warning"
    assert "cpu-throttle" in found.seen


@pytest.mark.parametrize(
    ("free", "read_only", "status"),
    [(10 * 1024, False, "ok"), (1024, False, "warning"), (100, False, "problem"),
     (10 * 1024, True, "problem")],
)  # fmt: skip
def test_disk_space(free, read_only, status, tmp_path):
    space = Space(free * MIB, 2 * free * MIB, None, read_only)
    machine = jetson(tmp_path, space=lambda place: space)
    assert set(outcome(check_disk(machine)).values()) == {status}


def test_a_container_with_dockers_64_mib_of_shared_memory(tmp_path):
    machine = jetson(tmp_path, space=lambda place: Space(64 * MIB, 64 * MIB, None, False))
    found = only(check_memory(machine), "limits.shm")
    assert found.status == "warning"
    assert "--shm-size=256m" in found.fix


def test_limits_of_nested_control_groups(tmp_path):
    # given a group with half the processors, in one with little memory and few threads
    write = Writer(tmp_path)
    write("proc/self/cgroup", "0::/system.slice/run.scope")
    write("sys/fs/cgroup/system.slice/run.scope/cpu.max", "150000 100000")
    write("sys/fs/cgroup/system.slice/cpu.max", "max 100000")
    write("sys/fs/cgroup/system.slice/memory.max", str(256 * MIB))
    write("sys/fs/cgroup/system.slice/pids.max", "64")
    machine = Machine(root=tmp_path, cores=4)
    # when
    grant = granted(machine)
    found = {finding.check: finding for finding in check_limits(machine)}
    # then
    assert (grant.cores, grant.memory, grant.tasks) == (1.5, 256 * MIB, 64)
    assert found["limits.processors"].fix == "hyperseg run --threads 1 ..."
    assert found["limits.memory-group"].status == found["limits.threads"].status == "warning"


def test_limits_of_the_first_version_of_control_groups(tmp_path):
    write = Writer(tmp_path)
    write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000")
    write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000")
    assert granted(Machine(root=tmp_path)).cores == 2.0


def test_a_container_on_a_jetson_without_its_sockets(tmp_path):
    machine = jetson(tmp_path)
    Writer(machine.root)(".dockerenv", "")
    (machine.root / "tmp/argus_socket").unlink()
    (machine.root / "dev/nvmap").unlink()

    found = {finding.check: finding for finding in check_container(machine)}

    assert found["container.kind"].seen == "docker"
    assert found["container.nodes"].fix == "docker run --runtime nvidia ..."
    assert "-v /tmp/argus_socket:/tmp/argus_socket" in found["container.argus"].fix


def test_outside_of_a_container_the_camera_service_is_restarted(tmp_path):
    machine = jetson(tmp_path)
    (machine.root / "tmp/argus_socket").unlink()
    found = only(check_container(machine), "container.argus")
    assert found.fix == "sudo systemctl restart nvargus-daemon"


def test_services_whose_program_is_gone_or_that_nobody_watches(tmp_path):
    write = Writer(tmp_path)
    write("run/systemd/system/here", "")
    write("dev/watchdog0", "")
    write("opt/bin/hyperseg", "")
    units = "etc/systemd/system"
    write(f"{units}/hyperseg-good.service", 'ExecStart="/opt/bin/hyperseg" run\nWatchdogSec=30')
    write(f"{units}/hyperseg-gone.service", "ExecStart=/old/bin/hyperseg run\nWatchdogSec=30")
    write(f"{units}/hyperseg-deaf.service", "ExecStart=/opt/bin/hyperseg run")
    write(
        f"{units}/hyperseg-blind.service",
        "ExecStart=/opt/bin/hyperseg run m csi://0\nWatchdogSec=30\nDynamicUser=yes\nPrivateTmp=no",
    )
    machine = Machine(root=tmp_path)

    found = outcome(check_services(machine))

    assert found == {
        "service.systemd": "ok",
        "service.watchdog": "warning",
        "service.hyperseg-good": "ok",
        "service.hyperseg-gone": "problem",
        "service.hyperseg-deaf": "warning",
        "service.hyperseg-blind": "problem",
    }
    write("etc/systemd/system.conf.d/a.conf", "[Manager]\nRuntimeWatchdogSec=30s")
    assert outcome(check_services(machine))["service.watchdog"] == "ok"


def test_sources(tmp_path):
    machine = jetson(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (there,) = check_source(machine, f"rtsp://me:geheim@127.0.0.1:{port}/main")
    (gone,) = check_source(machine, f"rtsp://me:geheim@127.0.0.1:{port}/main")
    assert (there.status, gone.status) == ("ok", "problem")
    assert "geheim" not in there.seen + gone.seen + gone.fix
    assert outcome(check_source(machine, "fault:stall@5+3:test:")) == {"source": "ok"}
    assert outcome(check_source(machine, str(tmp_path / "no.mp4"))) == {"source": "problem"}
    assert outcome(check_source(machine, "/dev/video99")) == {"source": "problem"}
    assert outcome(check_source(machine, "csi://0")) == {"source": "ok"}
    (machine.root / "tmp/argus_socket").unlink()
    assert outcome(check_source(machine, "csi://0")) == {"source": "problem"}


def test_models(make_model, tmp_path):
    machine = jetson(tmp_path, gpu=lambda: NOTHING)
    model = make_model()
    assert outcome(check_model(machine, str(model))) == {"model.file": "ok"}
    model.write_bytes(b"other")
    (found,) = check_model(machine, str(model))
    assert found.status == "problem"


@pytest.mark.gst
def test_asking_gstreamer_leaves_the_registry_as_it_is(tmp_path):
    # given a cache folder without a registry
    machine = Machine()
    environ = {k: v for k, v in machine.environ.items() if not k.startswith("GST_REGISTRY")}

    told = ask_gstreamer(
        machine.python.executable, ["fakesink", "nosuchelement"], environ, tmp_path
    )

    assert told.error is None
    assert told.elements == {"fakesink"}
    assert told.registry_state == "absent"
    assert told.registry == str(registry_file(environ, tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.gst
def test_a_plugin_that_does_not_load_is_found_by_gstreamer_itself(tmp_path):
    broken = tmp_path / "plugins" / "libgstbroken.so"
    broken.parent.mkdir()
    broken.write_text("no shared object")
    machine = Machine()
    environ = {**machine.environ, "GST_PLUGIN_PATH": str(broken.parent)}

    told = ask_gstreamer(machine.python.executable, [], environ, machine.cache)

    assert str(broken) in told.blacklisted


def test_an_interpreter_without_bindings_and_one_that_hangs_are_told(tmp_path):
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho 'Segmentation fault' >&2\nexit 139\n")
    script.chmod(0o755)
    assert ask_gstreamer(str(script), [], {}, tmp_path).error == (
        "loading it ended with 139: Segmentation fault"
    )
    script.write_text("#!/bin/sh\nexec /bin/sleep 30\n")
    told = ask_gstreamer(str(script), [], {}, tmp_path, patience_s=0.2)
    assert told.error == "it did not load within 0.2 s"


@pytest.mark.gst
def test_this_machine(tmp_path, capsys):
    """The whole verb, for real."""
    file = tmp_path / "doctor.json"

    code = main(["doctor", "test:", "--model", "street-edge-n", "--json", str(file)])

    report = json.loads(file.read_text())
    problems = [item for item in report["findings"] if item["status"] == "problem"]
    assert code == (1 if problems else 0)
    assert report["schema"] == "hyperseg-edge.doctor/1"
    groups = {item["check"].partition(".")[0] for item in report["findings"]}
    assert groups >= {"python", "packages", "gstreamer", "elements", "inference", "disk", "limits"}
    assert capsys.readouterr().out.endswith(f"{report['took_s']:.1f} s\n")
    assert report["took_s"] < 30
    # and the same as JSON alone
    assert main(["doctor", "--json", "-"]) in (0, 1)
    assert json.loads(capsys.readouterr().out)["verdict"] in ("ok", "warning", "problem")
