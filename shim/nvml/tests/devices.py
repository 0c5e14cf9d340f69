"""What pynvml (NVIDIA's nvidia-ml-py) sees of a program that uses our libcuda.so.1, the path of which is the argument."""

import signal
import subprocess
import sys
import time

import pynvml

MEGABYTE = 1 << 20

# Uses 64 MiB of the device, says what libcuda says of it, and computes until it is ended.
PROGRAM = """
import ctypes, sys
cuda = ctypes.CDLL(sys.argv[1])
name, uuid = ctypes.create_string_buffer(100), (ctypes.c_ubyte * 16)()
total, major, minor, version = ctypes.c_size_t(), ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
bus = ctypes.create_string_buffer(20)
context, memory = ctypes.c_void_p(), ctypes.c_void_p()
for code in [
    cuda.cuInit(0),
    cuda.cuDeviceGetName(name, 100, 0),
    cuda.cuDeviceGetUuid_v2(uuid, 0),
    cuda.cuDeviceTotalMem_v2(ctypes.byref(total), 0),
    cuda.cuDeviceComputeCapability(ctypes.byref(major), ctypes.byref(minor), 0),
    cuda.cuDriverGetVersion(ctypes.byref(version)),
    cuda.cuDeviceGetPCIBusId(bus, 20, 0),
    cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0),
    cuda.cuCtxSetCurrent(context),
    cuda.cuMemAlloc_v2(ctypes.byref(memory), ctypes.c_size_t(64 << 20)),
]:
    assert code == 0, code
said = name.value.decode(), bytes(uuid).hex(), total.value, major.value, minor.value, version.value, bus.value.decode()
print(*said, sep="|", flush=True)
while True:
    pass
"""


def expect_error(code, call, *arguments):
    try:
        call(*arguments)
    except pynvml.NVMLError as error:
        assert error.value == code, (call.__name__, error)
    else:
        raise AssertionError(f"{call.__name__} succeeded")


def main():
    expect_error(pynvml.NVML_ERROR_UNINITIALIZED, pynvml.nvmlDeviceGetCount)
    pynvml.nvmlInit()
    assert pynvml.nvmlDeviceGetCount() == 1
    device = pynvml.nvmlDeviceGetHandleByIndex(0)
    before = pynvml.nvmlDeviceGetMemoryInfo(device)

    program = subprocess.Popen([sys.executable, "-c", PROGRAM, sys.argv[1]], stdout=subprocess.PIPE, text=True)
    try:
        name, uuid, total, major, minor, version, bus = program.stdout.readline().strip().split("|")
        spelled = f"GPU-{uuid[:8]}-{uuid[8:12]}-{uuid[12:16]}-{uuid[16:20]}-{uuid[20:]}"

        # The two libraries say the same.
        assert pynvml.nvmlDeviceGetName(device) == name
        assert pynvml.nvmlDeviceGetUUID(device) == spelled
        assert pynvml.nvmlDeviceGetCudaComputeCapability(device) == (int(major), int(minor))
        assert pynvml.nvmlSystemGetCudaDriverVersion() == int(version)
        assert pynvml.nvmlDeviceGetPciInfo(device).busIdLegacy == bus
        assert pynvml.nvmlDeviceGetPciInfo(device).busId == "0000" + bus
        for memory in [pynvml.nvmlDeviceGetMemoryInfo(device), pynvml.nvmlDeviceGetMemoryInfo(device, version=pynvml.nvmlMemory_v2)]:
            assert memory.total == int(total)
            assert memory.free + memory.used == memory.total
            assert memory.used - before.used >= 64 * MEGABYTE, (before.used, memory.used)

        # A device is found by all that names it.
        for found in [pynvml.nvmlDeviceGetHandleByUUID(spelled), pynvml.nvmlDeviceGetHandleByPciBusId(bus)]:
            assert pynvml.nvmlDeviceGetIndex(found) == 0
        expect_error(pynvml.NVML_ERROR_NOT_FOUND, pynvml.nvmlDeviceGetHandleByUUID, "GPU-1")
        expect_error(pynvml.NVML_ERROR_NOT_FOUND, pynvml.nvmlDeviceGetHandleByPciBusId, "0001:00:00.0")
        expect_error(pynvml.NVML_ERROR_INVALID_ARGUMENT, pynvml.nvmlDeviceGetHandleByIndex, 7)

        # The program is there, with what it uses, in every form of the question.
        for ask in [pynvml.nvmlDeviceGetComputeRunningProcesses_v2, pynvml.nvmlDeviceGetComputeRunningProcesses_v3]:
            used = {process.pid: process.usedGpuMemory for process in ask(device)}
            assert used.get(program.pid, 0) >= 64 * MEGABYTE, used
        assert pynvml.nvmlSystemGetProcessName(program.pid).startswith(sys.executable)
        assert pynvml.nvmlDeviceGetGraphicsRunningProcesses(device) == []

        # It computes, which is seen as load.
        pynvml.nvmlDeviceGetUtilizationRates(device)
        time.sleep(1)
        assert pynvml.nvmlDeviceGetUtilizationRates(device).gpu > 0
    finally:
        program.send_signal(signal.SIGKILL)
        program.wait()
    assert program.pid not in [process.pid for process in pynvml.nvmlDeviceGetComputeRunningProcesses(device)]
    assert pynvml.nvmlDeviceGetMemoryInfo(device).used == before.used

    # What the device does not have is said to be missing.
    for call in [
        pynvml.nvmlDeviceGetPowerUsage,
        pynvml.nvmlDeviceGetEccMode,
        pynvml.nvmlDeviceGetCurrPcieLinkWidth,
        pynvml.nvmlDeviceGetSerial,
        pynvml.nvmlDeviceGetMigMode,
    ]:
        expect_error(pynvml.NVML_ERROR_NOT_SUPPORTED, call, device)
    expect_error(pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.nvmlDeviceGetTemperature, device, pynvml.NVML_TEMPERATURE_GPU)
    assert pynvml.nvmlDeviceGetComputeMode(device) == pynvml.NVML_COMPUTEMODE_DEFAULT
    assert pynvml.nvmlDeviceGetBrand(device) == pynvml.NVML_BRAND_UNKNOWN
    assert pynvml.nvmlSystemGetDriverVersion().count(".") >= 1

    pynvml.nvmlInit()
    pynvml.nvmlShutdown()
    assert pynvml.nvmlDeviceGetCount() == 1, "one of two users is left"
    pynvml.nvmlShutdown()
    expect_error(pynvml.NVML_ERROR_UNINITIALIZED, pynvml.nvmlDeviceGetCount)
    expect_error(pynvml.NVML_ERROR_UNINITIALIZED, pynvml.nvmlShutdown)
    print("right")


main()
