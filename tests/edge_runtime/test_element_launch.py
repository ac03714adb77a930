"""The plugin file, and the element in the tools and the runtime that users have."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from edge_runtime import RunOptions, run
from edge_runtime.cli import main
from edge_runtime.demo import DemoOptions, write_clip
from edge_runtime.element import install

pytestmark = pytest.mark.gst

CLIP = (270, 480)
FRAMES = 6
MODEL = "street-edge-n"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    pytest.importorskip("gi")
    folder = tmp_path_factory.mktemp("clip")
    write_clip(folder / "street.mp4", DemoOptions(folder, frames=FRAMES, size=CLIP))
    return folder / "street.mp4"


def decoded(clip):
    return f"filesrc location={clip} ! qtdemux ! h264parse ! avdec_h264"


@pytest.mark.parametrize(("size", "least"), [((384, 512), 0.9999), ((270, 480), 0.985)])
def test_masks_agree_with_those_of_a_run(tmp_path, size, least):
    """Where a clip is scaled, a run does so before the conversion from YUV, the element after."""
    pytest.importorskip("gi")
    from edge_runtime import element
    from edge_runtime.element.results import read_mask
    from edge_runtime.gst import Gst

    # Given the masks of `hyperseg run`
    clip = tmp_path / "street.mp4"
    write_clip(clip, DemoOptions(tmp_path, frames=FRAMES, size=size))
    wanted = {}
    run(
        MODEL,
        str(clip),
        RunOptions(policy="every", threads=1, quiet=True),
        on_result=lambda result: wanted.update({result.pts_ns: result.mask.copy()}),
    )

    # When the element sees the same clip
    element.register()
    pipeline = Gst.parse_launch(
        f"{decoded(clip)} ! videoconvert ! hypersegfilter model={MODEL} threads=1 ! "
        "videoconvert ! videoscale ! video/x-raw,width=64 ! appsink name=out sync=false"
    )
    pipeline.set_state(Gst.State.PLAYING)
    found = {}
    try:
        while sample := pipeline.get_by_name("out").emit("try-pull-sample", 60 * Gst.SECOND):
            buffer = sample.get_buffer()
            found[buffer.pts] = read_mask(buffer).mask
    finally:
        pipeline.set_state(Gst.State.NULL)

    # Then every frame has its mask, also behind a converter and a scaler, and they agree
    assert found.keys() == wanted.keys()
    assert len(found) == FRAMES
    agreement = [np.mean(found[pts] == wanted[pts]) for pts in found]
    assert min(agreement) > least, agreement
    order = list(found)
    crossed = np.mean(found[order[0]] == wanted[order[-1]])
    assert crossed < min(agreement), "any frame's mask would do: the clip proves nothing"


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """GStreamer's tools with a registry of their own, and the loader of Python plugins."""
    if shutil.which("gst-launch-1.0") is None:
        pytest.skip("no gst-launch-1.0: apt-get install gstreamer1.0-tools")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GST_REGISTRY", str(tmp_path / "registry.bin"))
    monkeypatch.delenv("GST_PLUGIN_PATH", raising=False)
    loader = subprocess.run(["gst-inspect-1.0", "python"], capture_output=True, check=False)
    if loader.returncode != 0:
        pytest.skip(f"no loader of Python plugins: apt-get install {install.LOADER_PACKAGE}")
    return tmp_path


def launch(text, folder):
    return subprocess.run(
        ["gst-launch-1.0", *text.split()],
        env={**os.environ, "GST_PLUGIN_PATH": str(folder), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_gst_launch_segments_a_file(tools, clip, capsys):
    # Given an installed plugin file, proved by gst-inspect
    folder, overlay = tools / "plug ins", tools / "overlay.mp4"
    assert main(["element", "install", "--folder", str(folder)]) == 0
    assert f"export GST_PLUGIN_PATH='{folder}'" in capsys.readouterr().out
    assert main(["element", "check", "--folder", str(folder)]) == 0
    assert "finds hypersegfilter" in capsys.readouterr().out

    # When a file is segmented with it
    encoder = "x264enc" if _has("x264enc") else "openh264enc bitrate=400000"
    done = launch(
        f"filesrc location={clip} ! decodebin ! videoconvert ! hypersegfilter model={MODEL} "
        f"threads=1 ! videoconvert ! {encoder} ! h264parse ! mp4mux ! filesink location={overlay}",
        folder,
    )

    # Then another program finds all frames in the outcome, and they are not those of the clip
    assert done.returncode == 0, done.stderr
    before, after = _pictures(clip), _pictures(overlay)
    assert len(before) == len(after) == FRAMES
    assert np.mean(np.abs(before[2].astype(int) - after[2])) > 10

    # And a mistake is one line
    wrong = launch("videotestsrc ! videoconvert ! hypersegfilter model=street-edge-m ! fakesink",
                   folder)  # fmt: skip
    assert wrong.returncode != 0
    assert "no model 'street-edge-m'" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def _has(name):
    done = subprocess.run(["gst-inspect-1.0", name], capture_output=True, check=False)
    return done.returncode == 0


def _pictures(path):
    import cv2

    video = cv2.VideoCapture(str(path))
    pictures = []
    while (read := video.read())[0]:
        pictures.append(read[1])
    video.release()
    return pictures


def test_the_users_own_folder_needs_no_variable_and_a_broken_file_is_told(tools, capsys):
    # Given nothing installed
    assert main(["element", "check"]) == 2
    assert "run `hyperseg element install`" in capsys.readouterr().err

    # When the file is written where the loader always looks
    assert main(["element", "install"]) == 0
    assert main(["element", "check"]) == 0

    # Then one of another Python is refused in words, and installing again mends it
    place = install.default_folder() / "python" / install.PLUGIN_FILE
    text, version = place.read_text(), f"VERSION = {sys.version_info[:2]}"
    place.write_text(text.replace(version, "VERSION = (3, 2)"))
    capsys.readouterr()
    assert main(["element", "check"]) == 2
    assert "the installation's is 3.2" in capsys.readouterr().err
    assert main(["element", "install"]) == 0
    assert main(["element", "check"]) == 0


def test_a_folder_that_cannot_be_made_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")

    assert main(["element", "install", "--folder", str(tmp_path / "file/in")]) == 2
    assert "cannot make" in capsys.readouterr().err


def test_the_registry_is_found_where_gstreamer_keeps_it(tmp_path, monkeypatch):
    for variable in ("GST_REGISTRY", "GST_REGISTRY_1_0"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    registry = tmp_path / "gstreamer-1.0" / "registry.x86_64.bin"
    registry.parent.mkdir()
    registry.write_bytes(b"old")
    named = tmp_path / "named.bin"
    named.write_bytes(b"old")

    install.forget_registry()
    assert not registry.exists()

    monkeypatch.setenv("GST_REGISTRY", str(named))
    install.forget_registry()
    install.forget_registry()
    assert not named.exists()
