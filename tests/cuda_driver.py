"""A `Device` of the CUDA engine that calls NVIDIA's driver through ctypes.

It does not use MXNet, so it works on newer cards, too.
"""

import ctypes

import cuda_nvrtc
import numpy as np

from gluon_rbm.backend.cuda import launch


class DriverError(RuntimeError):
    """The driver refused a call."""


class DeviceArray:
    """Array in the memory of the card, which is freed with this object."""

    def __init__(self, driver, shape, dtype):
        self._driver, self.shape, self.dtype, self.ndim = driver, tuple(shape), np.dtype(dtype), len(shape)
        self.nbytes = max(int(np.prod(shape)) * self.dtype.itemsize, 1)
        self.pointer = ctypes.c_uint64()
        driver("cuMemAlloc_v2", ctypes.byref(self.pointer), ctypes.c_size_t(self.nbytes))

    def __len__(self):
        return self.shape[0]

    def __del__(self):
        if self.pointer:
            self._driver("cuMemFree_v2", self.pointer)


class DriverDevice:
    """Device that runs the kernels on a card.

    Parameters
    ----------
    number : int
        Number of the card.
    ptx : bytes, optional
        Compiled kernels. By default NVRTC compiles them.
    """

    def __init__(self, number=0, ptx=None):
        self._library = ctypes.CDLL("libcuda.so.1")
        self("cuInit", 0)
        device, context, module = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
        self("cuDeviceGet", ctypes.byref(device), number)
        self("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self("cuCtxSetCurrent", context)
        name = ctypes.create_string_buffer(100)
        self("cuDeviceGetName", name, 100, device)
        major, minor = (self._attribute(device, which) for which in (75, 76))
        self.name, self.architecture = name.value.decode(), "%d%d" % (major, minor)
        self.num_processors = self._attribute(device, 16)
        if ptx is None:
            newest = "80" if cuda_nvrtc.version(cuda_nvrtc.library()) < (11, 8) else self.architecture
            ptx, _ = cuda_nvrtc.compiled(cuda_nvrtc.library(), launch.source(), "compute_" + newest)
        self("cuModuleLoadData", ctypes.byref(module), ctypes.c_char_p(ptx))
        self._functions, self._parameters = {}, {}
        for kernel in launch.KERNELS:
            self._functions[kernel] = ctypes.c_void_p()
            self("cuModuleGetFunction", ctypes.byref(self._functions[kernel]), module, kernel.encode())
            self._parameters[kernel] = launch.parameters(kernel)

    def __call__(self, function, *arguments):
        status = getattr(self._library, function)(*arguments)
        if status:
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(status, ctypes.byref(text))
            raise DriverError("%s: %s" % (function, (text.value or b"error %d" % status).decode()))

    def _attribute(self, device, which):
        value = ctypes.c_int()
        self("cuDeviceGetAttribute", ctypes.byref(value), which, device)
        return value.value

    def empty(self, shape, dtype):
        return DeviceArray(self, shape, dtype)

    def array(self, values, dtype, copy=False):
        if isinstance(values, DeviceArray) and values.dtype == dtype:
            if not copy:
                return values
            found = self.empty(values.shape, dtype)
            self("cuMemcpyDtoD_v2", found.pointer, values.pointer, ctypes.c_size_t(values.nbytes))
            return found
        host = np.require(self.to_host(values), dtype, ("C", "ALIGNED"))
        found = self.empty(host.shape, dtype)
        self("cuMemcpyHtoD_v2", found.pointer, ctypes.c_void_p(host.ctypes.data), ctypes.c_size_t(host.nbytes))
        return found

    def to_host(self, array):
        if not isinstance(array, DeviceArray):
            return np.asarray(array)
        host = np.empty(array.shape, array.dtype)
        self("cuMemcpyDtoH_v2", ctypes.c_void_p(host.ctypes.data), array.pointer, ctypes.c_size_t(host.nbytes))
        return host

    def product(self, state, rows):
        raise NotImplementedError("without MXNet there are no matrix products: ask for products=False")

    def launch(self, kernel, arguments, blocks, threads, shared_bytes):
        held = [
            value.pointer if parameter.is_array else ctypes.c_int32(value)
            for parameter, value in zip(self._parameters[kernel], arguments)
        ]
        places = (ctypes.c_void_p * len(held))(*(ctypes.addressof(value) for value in held))
        sizes = (blocks, 1, 1, threads, 1, 1, shared_bytes)
        self("cuLaunchKernel", self._functions[kernel], *map(ctypes.c_uint, sizes), None, places, None)

    def wait(self):
        self("cuCtxSynchronize")

    def seconds(self, function, repeats):
        """Time each call on the card's own clock, in seconds, after a first call that warms up."""
        function()
        events = [ctypes.c_void_p() for _ in range(repeats + 1)]
        for event in events:
            self("cuEventCreate", ctypes.byref(event), 0)
        for event in events:
            self("cuEventRecord", event, None)
            if event is not events[-1]:
                function()
        self.wait()
        elapsed = ctypes.c_float()
        found = []
        for start, end in zip(events, events[1:]):
            self("cuEventElapsedTime", ctypes.byref(elapsed), start, end)
            found.append(elapsed.value / 1e3)
        return found
