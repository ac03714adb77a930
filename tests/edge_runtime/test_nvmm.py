"""The parts of the zero-copy bridge that need no Jetson. The bridge itself was never run on one."""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime.artifacts import TensorSpec, write_artifact
from edge_runtime.cli import main
from edge_runtime.copies import Copies
from edge_runtime.nvmm import kernel, layout
from edge_runtime.nvmm.base import BridgeError, DeviceFeed, Place, device_feed
from edge_runtime.nvmm.layout import read_surface
from edge_runtime.nvmm.open import open_bridge, why_not
from edge_runtime.nvmm.registrations import Registrations
from edge_runtime.nvmm.trust import CHECKS, FAILURES, FLAT_LIMIT, Trust
from edge_runtime.rig.engine import Engine
from edge_runtime.video import Frame
from tests.scripted import SIZE, FakeClock, ScriptedBackend, scripted_manifest, write_identity_onnx

HEIGHT, WIDTH, PITCH = 6, 10, 64


class NvmmStruct:
    """An NvBufSurface of one frame as a Jetson would lay it out, in this process' memory."""

    def __init__(self, *, mem_type=layout.MEM_SURFACE_ARRAY, size=64):
        self.frame = (ctypes.c_uint8 * 384)()  # with the fields behind those that are read
        params = layout.NvBufSurfaceParams.from_buffer(self.frame)
        params.width, params.height, params.pitch = WIDTH, HEIGHT, PITCH
        params.color_format, params.layout = layout.FORMAT_RGBA, layout.LAYOUT_PITCH
        params.buffer_desc, params.data_size, params.data_pointer = 41, PITCH * HEIGHT, 0xABC000
        planes = params.planes
        planes.num_planes, planes.width[0], planes.height[0] = 1, WIDTH, HEIGHT
        planes.pitch[0], planes.bytes_per_pixel[0] = PITCH, 4
        params.mapped.egl_image = 0x7F00
        self.params = params
        self.memory = (ctypes.c_uint8 * size)()
        self.batch = layout.NvBufSurface.from_buffer(self.memory)
        self.batch.batch_size = self.batch.num_filled = 1
        self.batch.mem_type = mem_type
        self.batch.surface_list = ctypes.addressof(self.frame)
        self.size = size

    def read(self):
        return read_surface(ctypes.addressof(self.memory), self.size, (HEIGHT, WIDTH))


def test_the_structures_lie_where_nvidias_header_puts_them():
    params, batch = layout.NvBufSurfaceParams, layout.NvBufSurface

    assert (batch.is_contiguous.offset, batch.mem_type.offset, batch.surface_list.offset) == (
        12, 16, 24,
    )  # fmt: skip
    assert ctypes.sizeof(batch) == 32
    assert (params.buffer_desc.offset, params.data_pointer.offset) == (24, 40)
    assert (params.planes.offset, params.mapped.offset) == (48, 280)
    assert layout.MappedAddr.egl_image.offset == 32
    assert (ctypes.sizeof(layout.PlaneParams), ctypes.sizeof(layout.MappedAddr)) == (232, 72)
    assert ctypes.sizeof(params) == 352


@pytest.mark.parametrize("size", layout.SIZES)
def test_a_dmabuf_is_read_with_its_descriptor_and_image(size):
    struct = NvmmStruct(size=size)

    facts = struct.read()

    assert (facts.on_device, facts.fd, facts.egl_image, facts.pitch) == (False, 41, 0x7F00, PITCH)
    struct.params.mapped.egl_image = 0x9900
    assert layout.egl_image_of(ctypes.addressof(struct.memory)) == 0x9900


def test_a_frame_in_device_memory_is_read_with_its_address():
    facts = NvmmStruct(mem_type=layout.MEM_CUDA_DEVICE).read()

    assert (facts.on_device, facts.pointer, facts.pitch) == (True, 0xABC000, PITCH)


@pytest.mark.parametrize(
    ("place", "field", "value", "message"),
    [
        ("batch", "batch_size", 2, "batchSize is 2, expected 1"),
        ("batch", "gpu_id", 7, "gpuId is 7"),
        ("batch", "mem_type", 0, "memType is 0"),
        ("batch", "surface_list", 0, "surfaceList"),
        ("batch", "surface_list", 0x1001, "surfaceList"),
        ("batch", "surface_list", 0x1000, "cannot be read|readable"),
        ("params", "width", WIDTH + 1, "width is 11, expected 10"),
        ("params", "height", HEIGHT - 1, "height is 5, expected 6"),
        ("params", "color_format", 6, "colorFormat is 6, expected 19"),
        ("params", "pitch", 4 * WIDTH - 4, "pitch"),
        ("params", "data_size", PITCH, "dataSize"),
        ("params", "buffer_desc", 0, "bufferDesc"),
        ("params", "buffer_desc", 2**40, "bufferDesc"),
        ("planes", "num_planes", 2, "planes is 2"),
    ],
)
def test_whatever_is_not_as_negotiated_is_refused(place, field, value, message):
    struct = NvmmStruct()
    target = {"batch": struct.batch, "params": struct.params, "planes": struct.params.planes}
    setattr(target[place], field, value)

    with pytest.raises(BridgeError, match=message):
        struct.read()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("data_pointer", 0, "dataPtr is null"), ("layout", 1, "layout is 1, expected 0")],
)
def test_device_memory_must_be_rows_at_an_address(field, value, message):
    struct = NvmmStruct(mem_type=layout.MEM_CUDA_DEVICE)
    setattr(struct.params, field, value)

    with pytest.raises(BridgeError, match=message):
        struct.read()


def test_a_structure_of_unknown_size_is_not_even_looked_at():
    with pytest.raises(BridgeError, match=r"48 bytes.*layout is not known"):
        read_surface(0, 48, (HEIGHT, WIDTH))


def test_a_wrong_address_is_an_error_and_no_crash():
    with pytest.raises(BridgeError, match=r"0x10 (cannot be read|holds)"):
        layout.peek(0x10, layout.NvBufSurface)
    with pytest.raises(BridgeError, match="cannot be read"):
        layout.peek(2**64 - 8, layout.NvBufSurface)


class Recorder:
    """Notes what a cache asks of the device."""

    def __init__(self):
        self.done = []
        self.fail = False

    def register(self, egl_image):
        if self.fail:
            raise BridgeError("CUDA failed")
        self.done.append(("register", egl_image))
        return f"frame {egl_image}"

    def unregister(self, registered):
        self.done.append(("unregister", registered))


def test_a_pool_is_registered_once():
    recorder = Recorder()
    cache = Registrations(recorder)

    for turn in range(30):
        fd = turn % 10
        assert cache.get(fd, 100 + fd) == f"frame {100 + fd}"

    assert (cache.misses, cache.hits, len(recorder.done)) == (10, 20, 10)


def test_a_descriptor_with_another_image_is_registered_anew():
    recorder = Recorder()
    cache = Registrations(recorder)
    cache.get(5, 100)

    assert cache.get(5, 200) == "frame 200"

    assert recorder.done == [("register", 100), ("unregister", "frame 100"), ("register", 200)]
    assert len(cache) == 1


def test_the_one_not_used_for_longest_makes_room():
    recorder = Recorder()
    cache = Registrations(recorder, capacity=2)
    cache.get(1, 101)
    cache.get(2, 102)
    cache.get(1, 101)

    cache.get(3, 103)

    assert ("unregister", "frame 102") in recorder.done
    assert ("unregister", "frame 101") not in recorder.done
    assert len(cache) == 2


def test_all_are_given_back_and_a_failure_leaves_nothing_behind():
    recorder = Recorder()
    cache = Registrations(recorder)
    cache.get(1, 101)
    recorder.fail = True
    with pytest.raises(BridgeError):
        cache.get(1, 999)
    assert len(cache) == 0
    recorder.fail = False
    cache.get(1, 101)

    cache.clear()

    kinds = [kind for kind, _ in recorder.done]
    assert kinds.count("register") == kinds.count("unregister") == 2
    assert len(cache) == 0


@pytest.fixture
def said():
    return []


@pytest.fixture
def trust(said):
    return Trust(said.append)


def a_picture(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)


def test_the_bridge_is_trusted_after_equal_pictures_in_a_row(trust, said):
    for _ in range(CHECKS):
        assert trust.state == "checking"
        trust.compared(a_picture(), a_picture())

    assert (trust.state, said) == ("trusted", [])


def test_one_wrong_picture_ends_it_for_good_with_one_line(trust, said):
    swapped = a_picture()[:, :, ::-1]

    trust.compared(a_picture(), a_picture())
    trust.compared(a_picture(), swapped)
    trust.restart()
    trust.failed("later")
    trust.refuse("later")

    assert trust.state == "refused"
    assert len(said) == 1
    assert said[0].startswith("zero-copy is off: its picture differs from the default one by up to")
    assert said[0].endswith("frames are copied once, as by default")


def test_a_picture_one_row_lower_is_a_wrong_picture(trust):
    trust.compared(a_picture(), np.roll(a_picture(), 1, axis=0))

    assert trust.state == "refused"


def test_a_picture_of_another_size_is_refused(trust, said):
    trust.compared(a_picture(), a_picture()[:4])

    assert "(4, 8, 3)" in said[0]


def test_black_frames_prove_nothing(trust, said):
    black = np.zeros((8, 8, 3), np.uint8)

    for _ in range(FLAT_LIMIT - 1):
        trust.compared(black, black)
    assert trust.state == "checking"
    trust.compared(black, black)

    assert trust.state == "refused"
    assert "too little contrast" in said[0]


def test_the_border_around_a_flat_frame_is_no_contrast(trust):
    bordered = np.zeros((8, 8, 3), np.uint8)
    bordered[2:6] = 128

    for _ in range(CHECKS):
        trust.compared(bordered, bordered, (2, 0, 4, 8))

    assert trust.state == "checking"


def test_a_failed_frame_asks_for_a_new_comparison_and_several_end_it(trust, said):
    for _ in range(FAILURES - 1):
        for _ in range(CHECKS):
            trust.compared(a_picture(), a_picture())
        assert trust.state == "trusted"
        trust.failed("no image")
        assert trust.state == "checking"
    assert said == []

    trust.failed("no image")

    assert trust.state == "refused"
    assert said[0].startswith(f"zero-copy is off: {FAILURES} frames could not be carried, the last")


@pytest.fixture(scope="module")
def lay(tmp_path_factory):
    """The kernel's own text, compiled as C, run thread by thread."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("kernel")
    names = "rgba, pitch, packed, height, width, top, left, inner_height, inner_width, reversed"
    parameters = kernel.SOURCE.partition("lay(")[2].partition(")")[0]
    (folder / "lay.c").write_text(
        "#define __global__\n"
        "static struct { int x, y; } blockIdx, blockDim, threadIdx;\n"
        + kernel.SOURCE.replace('extern "C"', "static")
        + f"void run(int across, int down, int w, int h, {parameters}) {{\n"
        "  blockDim.x = w; blockDim.y = h;\n"
        "  for (blockIdx.y = 0; blockIdx.y < down; blockIdx.y++)\n"
        "  for (blockIdx.x = 0; blockIdx.x < across; blockIdx.x++)\n"
        "  for (threadIdx.y = 0; threadIdx.y < h; threadIdx.y++)\n"
        f"  for (threadIdx.x = 0; threadIdx.x < w; threadIdx.x++) lay({names});\n}}\n"
    )
    library = folder / "lay.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", library, folder / "lay.c"], check=True
    )
    function = ctypes.CDLL(str(library)).run
    function.argtypes = (*[ctypes.c_int] * 4, *kernel.TYPES)
    function.restype = None
    return function


@pytest.mark.parametrize("is_bgr", [False, True])
@pytest.mark.parametrize(
    "place",
    [
        Place((24, 50), (0, 0, 24, 50)),
        Place((24, 50), (3, 0, 18, 50)),
        Place((24, 50), (0, 7, 24, 36)),
    ],
)
def test_the_kernel_drops_alpha_and_padding_and_keeps_black_around(lay, place, is_bgr):
    top, left, height, width = place.content
    pitch = 4 * width + 56
    rows = np.random.default_rng(1).integers(0, 256, (height, pitch), np.uint8)
    guard = 64
    packed = np.full(24 * 50 * 3 + guard, 77, np.uint8)
    source = kernel.Pitched(rows.ctypes.data, pitch)

    values = kernel.arguments(source, packed.ctypes.data, place, is_bgr=is_bgr)
    lay(*kernel.grid(place), *kernel.BLOCK, *values)

    wanted = np.zeros((24, 50, 3), np.uint8)
    rgba = rows[:, : 4 * width].reshape(height, width, 4)
    wanted[top : top + height, left : left + width] = rgba[:, :, [2, 1, 0] if is_bgr else [0, 1, 2]]
    np.testing.assert_array_equal(packed[:-guard].reshape(24, 50, 3), wanted)
    assert (packed[-guard:] == 77).all(), "wrote behind the input"


@pytest.mark.gpu
def test_the_kernel_on_a_gpu():
    pytest.importorskip("cuda.bindings.nvrtc", reason="pip install cuda-bindings")
    from edge_runtime.nvmm.device import CudaDevice, call

    try:
        device = CudaDevice()
    except (BridgeError, RuntimeError) as error:
        pytest.skip(f"no GPU, driver or NVRTC: {error}")
    place, pitch = Place((24, 50), (3, 0, 18, 50)), 256
    rows = np.random.default_rng(1).integers(0, 256, (18, pitch), np.uint8)
    address = call("cuMemAlloc", rows.nbytes)
    call("cuMemcpyHtoD", address, rows.ctypes.data, rows.nbytes)

    picture = device.fetched(kernel.Pitched(int(address), pitch), place, is_bgr=False)

    call("cuMemFree", address)
    device.close()
    wanted = np.zeros((24, 50, 3), np.uint8)
    wanted[3:21] = rows[:, :200].reshape(18, 50, 4)[:, :, :3]
    np.testing.assert_array_equal(picture, wanted)


class Elements:
    def __init__(self, *names, properties=("drop-mode",)):
        self.names, self.properties = names, properties

    def has(self, element):
        return element in self.names

    def has_property(self, element, name):
        return element in self.names and name in self.properties


class DeviceFedBackend(ScriptedBackend):
    device_feed = DeviceFeed(0x1000, 0)


JETSON = Elements("nvvidconv", "valve")


def test_only_a_backend_with_a_shared_input_is_fed_on_the_device():
    assert device_feed(ScriptedBackend(FakeClock())) is None
    assert device_feed(DeviceFedBackend(FakeClock())) == DeviceFeed(0x1000, 0)


def test_each_reason_against_the_bridge_is_named():
    manifest = scripted_manifest()
    floats = replace(manifest, inputs=(TensorSpec("frame", (1, 3, *SIZE), "float32"),))
    cpu, gpu = ScriptedBackend(FakeClock()), DeviceFedBackend(FakeClock())
    old = Elements("nvvidconv", "valve", properties=())

    assert "no Jetson" in why_not(gpu, manifest, Elements("valve"), alone=True)
    assert "older than 1.20" in why_not(gpu, manifest, old, alone=True)
    assert "several cameras" in why_not(gpu, manifest, JETSON, alone=False)
    assert "scripted 1.0 is no TensorRT engine" in why_not(cpu, manifest, JETSON, alone=True)
    assert why_not(gpu, manifest, JETSON, alone=True) is None
    assert why_not(gpu, floats, JETSON, alone=True).startswith("the input is float32")


def test_without_a_jetson_there_is_one_line_and_no_bridge(said):
    backend = ScriptedBackend(FakeClock())

    assert open_bridge(backend, backend.manifest, Elements(), said.append) is None

    assert said == [
        "zero-copy is off: this is no Jetson (GStreamer has no nvvidconv or nvvideoconvert); "
        "frames are copied once, as by default"
    ]


def test_a_jetson_without_a_working_driver_falls_back_with_one_line(said):
    if shutil.which("nvidia-smi"):
        pytest.skip("there is a driver")
    backend = DeviceFedBackend(FakeClock())

    assert open_bridge(backend, backend.manifest, JETSON, said.append) is None

    assert len(said) == 1
    assert said[0].startswith("zero-copy is off: ")


class WrittenSurface:
    """Notes where it was written to."""

    def __init__(self, image):
        self.image = image
        self.feeds = []

    def write_to(self, feed):
        self.feeds.append(feed)

    def picture(self):
        return self.image


def a_surface_frame():
    image = np.full((*SIZE, 3), 2, np.uint8)
    empty = np.empty((0, 0, 3), np.uint8)
    return Frame(0, 0, empty, SIZE, 0, 0, 0, 0, surface=WrittenSurface(image))


def test_a_surface_goes_into_the_input_on_the_device_and_costs_no_copy():
    frame = a_surface_frame()
    with DeviceFedBackend(FakeClock()) as backend:
        Engine(backend, backend.manifest).load(frame)

    assert frame.surface.feeds == [DeviceFeed(0x1000, 0)]
    assert frame.copies == Copies(frames=1, nvmm_frames=1)


def test_a_network_that_is_not_fed_on_the_device_still_gets_the_right_picture():
    frame = a_surface_frame()
    with ScriptedBackend(FakeClock()) as backend:
        engine = Engine(backend, backend.manifest)
        engine.load(frame)
        mask = engine.infer()

    assert (mask == 2).all()
    assert (frame.copies.nvmm_frames, frame.copies.device_to_host_copies) == (0, 1)
    assert frame.copies.host_copies == 1


@pytest.mark.gst
def test_asking_for_zero_copy_on_a_pc_says_why_not_and_runs_as_by_default(tmp_path, capsys):
    pytest.importorskip("onnx", reason="models are made with onnx: scripts/setup dev brings it")
    pytest.importorskip("gi")
    part, path, report = (tmp_path / name for name in ("part.onnx", "model.onnx", "report.json"))
    write_artifact(part, path, write_identity_onnx(part, (54, 96)))

    source = "test:bars?size=54x96&frames=4&fps=50"
    arguments = [source, "--zero-copy", "--policy", "every", "--quiet", "--report", str(report)]
    assert main(["run", str(path), *arguments]) == 0

    said = capsys.readouterr().err.splitlines()
    assert len([line for line in said if "zero-copy is off: " in line]) == 1
    copies = json.loads(report.read_text())["copies"]
    assert (copies["frames"], copies["host_copies"], copies["nvmm_frames"]) == (4, 4, 0)
