/* A stand-in for NVIDIA's libnvidia-ml.so.1 with two GPUs: what pynvml calls, answered with known values.
   GPU 0 answers everything; its utilisation goes 10, 20, 30, ... percent from reading to reading.
   GPU 1 knows no power (NVML_ERROR_NOT_SUPPORTED). STUB_NVML_FAIL=1 makes nvmlInit fail as without a driver. */
#include <stdlib.h>
#include <string.h>

typedef int nvmlReturn_t;
typedef struct { int index; } device;
typedef struct { unsigned int gpu, memory; } utilization;
typedef struct { unsigned long long total, free, used; } memory;

enum { SUCCESS = 0, NOT_SUPPORTED = 3, DRIVER_NOT_LOADED = 9 };
static device devices[2] = {{0}, {1}};
static unsigned int readings;

nvmlReturn_t nvmlInit_v2(void) { return getenv("STUB_NVML_FAIL") ? DRIVER_NOT_LOADED : SUCCESS; }
nvmlReturn_t nvmlInitWithFlags(unsigned int flags) { (void)flags; return nvmlInit_v2(); }
nvmlReturn_t nvmlShutdown(void) { return SUCCESS; }
nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count) { *count = 2; return SUCCESS; }
nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, device **handle) { *handle = &devices[index]; return SUCCESS; }

nvmlReturn_t nvmlDeviceGetName(device *handle, char *name, unsigned int length) {
    strncpy(name, handle->index ? "Stub GPU B" : "Stub GPU A", length);
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetUtilizationRates(device *handle, utilization *rates) {
    rates->gpu = handle->index ? 50 : 10 * ++readings;
    rates->memory = 5;
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(device *handle, memory *info) {
    info->total = 16ull << 30;
    info->used = (handle->index + 1ull) << 30;
    info->free = info->total - info->used;
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetPowerUsage(device *handle, unsigned int *milliwatts) {
    *milliwatts = 71500;
    return handle->index ? NOT_SUPPORTED : SUCCESS;
}

const char *nvmlErrorString(nvmlReturn_t code) {
    switch (code) {
    case NOT_SUPPORTED: return "Not Supported";
    case DRIVER_NOT_LOADED: return "Driver Not Loaded";
    default: return "stub error";
    }
}
