"""CUDA and libnvbufsurface: all of the bridge that needs a Jetson; never executed on one.

On Orin a frame is a dmabuf: libnvbufsurface makes an EGL image of it, and CUDA maps that. On Thor
it lies in device memory already. The integer values here are addresses and handles.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np
from cuda.bindings import driver, nvrtc

from edge_runtime.nvmm.base import BridgeError
from edge_runtime.nvmm.kernel import BLOCK, NAME, SOURCE, TYPES, Pitched, arguments, grid
from edge_runtime.nvmm.layout import egl_image_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.nvmm.base import Place

LIBRARY = "libnvbufsurface.so"
PIXEL = 4
"""Bytes of RGBA."""


def call(name: str, *values: Any) -> Any:
    """A driver function's result without its error code.

    Raises:
        BridgeError: the error code is not success.
    """
    error, *results = getattr(driver, name)(*values)
    if error != driver.CUresult.CUDA_SUCCESS:
        raise BridgeError(f"CUDA failed in {name}: {getattr(error, 'name', error)}")
    return results[0] if results else None


class EglImages:
    """EGL images of dmabufs. They stay with their surfaces, whose owner destroys both."""

    def __init__(self) -> None:
        self._map: Any = None  # loaded with the first frame that needs it: those of Thor do not

    def image(self, surface: int) -> int:
        """The EGL image of the only frame of an `NvBufSurface` that has none yet.

        Raises:
            BridgeError: there is none to be had.
        """
        if self._map is None:
            self._map = _load_map()
        status = self._map(surface, 0)
        image = egl_image_of(surface)
        if status != 0 or not image:
            raise BridgeError(f"NvBufSurfaceMapEglImage failed ({status})")
        return image


class CudaDevice:
    """The GPU on which the engine runs, by its primary context. Implements `Registrar`.

    Raises:
        BridgeError: no driver or GPU, or the kernel does not compile.
    """

    def __init__(self) -> None:
        call("cuInit", 0)
        self._device = call("cuDeviceGet", 0)
        self._context = call("cuDevicePrimaryCtxRetain", self._device)
        self.enter()
        self._module = call("cuModuleLoadData", _compile(_architecture(self._device)))
        self._kernel = call("cuModuleGetFunction", self._module, NAME.encode())
        self._scratch: dict[str, tuple[int, int]] = {}

    def enter(self) -> None:
        """Use the GPU from the calling thread."""
        call("cuCtxSetCurrent", self._context)

    def register(self, egl_image: int) -> Any:
        """Make an EGL image known to the device."""
        flags = driver.CUgraphicsRegisterFlags.CU_GRAPHICS_REGISTER_FLAGS_READ_ONLY
        return call("cuGraphicsEGLRegisterImage", egl_image, int(flags))

    def unregister(self, registered: Any) -> None:
        """Undo `register`."""
        call("cuGraphicsUnregisterResource", registered)

    def mapped(self, registered: Any, size: tuple[int, int], stream: int) -> Pitched:
        """A registered RGBA frame as rows; one that is no rows is copied into some on the device.

        Args:
            registered: by `register`.
            size: (height, width) of the frame.
            stream: on which a copy is queued.
        """
        frame = call("cuGraphicsResourceGetMappedEglFrame", registered, 0, 0)
        if frame.frameType == driver.CUeglFrameType.CU_EGL_FRAME_TYPE_PITCH:
            return Pitched(int(frame.frame.pPitch[0]), int(frame.pitch))
        height, width = size
        copy = driver.CUDA_MEMCPY2D()
        copy.srcMemoryType = driver.CUmemorytype.CU_MEMORYTYPE_ARRAY
        copy.srcArray = frame.frame.pArray[0]
        copy.dstMemoryType = driver.CUmemorytype.CU_MEMORYTYPE_DEVICE
        copy.dstDevice = self._allocated("rows", height * width * PIXEL)
        copy.dstPitch = copy.WidthInBytes = width * PIXEL
        copy.Height = height
        call("cuMemcpy2DAsync", copy, stream)
        return Pitched(int(copy.dstDevice), width * PIXEL)

    def lay(self, source: Pitched, target: int, place: Place, stream: int, *, is_bgr: bool) -> None:
        """Queue the kernel."""
        values = arguments(source, target, place, is_bgr=is_bgr)
        across, down = grid(place)
        call(
            "cuLaunchKernel", self._kernel, across, down, 1, *BLOCK, 1, 0, stream,
            (values, TYPES), 0,
        )  # fmt: skip

    def fetched(self, source: Pitched, place: Place, *, is_bgr: bool) -> NDArray[np.uint8]:
        """What `lay` makes of a frame, (height, width, 3) uint8 on the host."""
        picture = np.empty((*place.network, 3), np.uint8)
        target = self._allocated("picture", picture.nbytes)
        self.lay(source, target, place, 0, is_bgr=is_bgr)
        call("cuMemcpyDtoH", picture.ctypes.data, target, picture.nbytes)
        return picture

    def synchronize(self) -> None:
        """Wait for all that is queued."""
        call("cuCtxSynchronize")

    def close(self) -> None:
        """Release everything."""
        self.enter()
        for address, _ in self._scratch.values():
            call("cuMemFree", address)
        self._scratch.clear()
        call("cuModuleUnload", self._module)
        call("cuDevicePrimaryCtxRelease", self._device)

    def _allocated(self, name: str, size: int) -> int:
        address, had = self._scratch.get(name, (0, 0))
        if had < size:
            if address:
                call("cuMemFree", address)
            address = int(call("cuMemAlloc", size))
            self._scratch[name] = (address, size)
        return address


def _load_map() -> Any:
    try:
        function = ctypes.CDLL(LIBRARY).NvBufSurfaceMapEglImage
    except (OSError, AttributeError) as error:
        raise BridgeError(f"{LIBRARY} does not load ({error})") from error
    function.argtypes = (ctypes.c_void_p, ctypes.c_int)
    function.restype = ctypes.c_int
    return function


def _architecture(device: Any) -> str:
    kinds = driver.CUdevice_attribute
    major = call("cuDeviceGetAttribute", kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device)
    minor = call("cuDeviceGetAttribute", kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device)
    return f"compute_{major}{minor}"


def _compile(architecture: str) -> bytes:
    """The kernel as PTX."""
    options = [f"--gpu-architecture={architecture}".encode()]
    program = _compiler("nvrtcCreateProgram", SOURCE.encode(), b"lay.cu", 0, [], [])
    try:
        _compiler("nvrtcCompileProgram", program, len(options), options)
        size: int = _compiler("nvrtcGetPTXSize", program)
        text = b" " * size  # the bindings write into it
        _compiler("nvrtcGetPTX", program, text)
    finally:
        nvrtc.nvrtcDestroyProgram(program)
    return text


def _compiler(name: str, *values: Any) -> Any:
    error, *results = getattr(nvrtc, name)(*values)
    if error != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise BridgeError(f"NVRTC failed in {name}: {getattr(error, 'name', error)}")
    return results[0] if results else None
