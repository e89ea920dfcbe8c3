/* A stand-in for NVIDIA's libnvidia-ml.so.1: what pynvml calls, answered as a script says.

   The file that STUB_NVML names has a line for each number: DEVICE FIELD VALUE [VALUE ...], in NVML's own units. The
   first reading gets the first value, the next the next, and so on; the last one stays. `!3` is the NVML error 3; `@50` grows
   by 50 a second. A
   device is `0` or, for a MIG instance, `1.0`; a field that it has no line for is NVML_ERROR_NOT_SUPPORTED. Processes are
   PID:BYTES,PID:BYTES. `- init !9` makes nvmlInit fail, `- count 2` says how many GPUs there are. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int nvmlReturn_t;
typedef struct { char name[8]; } device;
typedef struct { unsigned int gpu, memory; } utilization;
typedef struct { unsigned long long total, free, used; } memory;
typedef struct { unsigned int pid; unsigned long long used; unsigned int gpu_instance, compute_instance; } process;
typedef struct { char device[8], field[24], *values[64]; int count, next; } line;

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, MOST_LINES = 256, MOST_DEVICES = 16 };
static line lines[MOST_LINES];
static int line_count;
static device devices[MOST_DEVICES];
static int device_count;

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static void read_script(void) {
    const char *path = getenv("STUB_NVML");
    FILE *file = path && !line_count ? fopen(path, "r") : NULL;
    static char text[4096];
    while (file && line_count < MOST_LINES && fgets(text, sizeof text, file)) {
        line *one = &lines[line_count];
        char *word = strtok(text, " \n");
        if (!word) continue;
        snprintf(one->device, sizeof one->device, "%s", word);
        snprintf(one->field, sizeof one->field, "%s", strtok(NULL, " \n"));
        while ((word = strtok(NULL, " \n")) && one->count < 64) one->values[one->count++] = strdup(word);
        line_count++;
    }
    if (file) fclose(file);
}

/* The next value of a field as text; an error in `code`. */
static const char *next(const char *name, const char *field, nvmlReturn_t *code) {
    for (int i = 0; i < line_count; i++) {
        line *one = &lines[i];
        if (strcmp(one->device, name) || strcmp(one->field, field) || !one->count) continue;
        const char *value = one->values[one->next];
        if (one->next < one->count - 1) one->next++;
        *code = value[0] == '!' ? atoi(value + 1) : SUCCESS;
        return value;
    }
    *code = NOT_SUPPORTED;
    return "";
}

static nvmlReturn_t number(device *handle, const char *field, unsigned long long *value) {
    nvmlReturn_t code;
    const char *text = next(handle->name, field, &code);
    if (code == SUCCESS) *value = text[0] == '@' ? (unsigned long long)(atof(text + 1) * now()) : strtoull(text, NULL, 10);
    return code;
}

static nvmlReturn_t small(device *handle, const char *field, unsigned int *value) {
    unsigned long long wide = 0;
    nvmlReturn_t code = number(handle, field, &wide);
    if (code == SUCCESS) *value = (unsigned int)wide;
    return code;
}

static device *named(const char *name) {
    for (int i = 0; i < device_count; i++)
        if (!strcmp(devices[i].name, name)) return &devices[i];
    snprintf(devices[device_count].name, sizeof devices[device_count].name, "%s", name);
    return &devices[device_count++];
}

nvmlReturn_t nvmlInitWithFlags(unsigned int flags) {
    nvmlReturn_t code;
    (void)flags;
    read_script();
    next("-", "init", &code);
    return code == NOT_SUPPORTED ? SUCCESS : code;
}
nvmlReturn_t nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
nvmlReturn_t nvmlShutdown(void) { return SUCCESS; }

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count) { return small(named("-"), "count", count); }

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, device **handle) {
    char name[8];
    nvmlReturn_t code;
    snprintf(name, sizeof name, "%u", index);
    *handle = named(name);
    next(name, "handle", &code);
    return code == NOT_SUPPORTED ? SUCCESS : code;
}

nvmlReturn_t nvmlDeviceGetName(device *handle, char *name, unsigned int length) {
    nvmlReturn_t code;
    snprintf(name, length, "%s", next(handle->name, "name", &code));
    return code;
}

nvmlReturn_t nvmlDeviceGetUtilizationRates(device *handle, utilization *rates) {
    nvmlReturn_t code = small(handle, "utilization", &rates->gpu);
    return code ? code : small(handle, "memory_utilization", &rates->memory);
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(device *handle, memory *info) {
    nvmlReturn_t code = number(handle, "memory_used", &info->used);
    info->total = 16ull << 30;
    info->free = info->total - info->used;
    return code;
}

nvmlReturn_t nvmlDeviceGetPowerUsage(device *handle, unsigned int *mw) { return small(handle, "power", mw); }
nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(device *handle, unsigned long long *mj) { return number(handle, "energy", mj); }
nvmlReturn_t nvmlDeviceGetClockInfo(device *handle, int clock, unsigned int *mhz) { return small(handle, clock == 1 ? "sm_clock" : "memory_clock", mhz); }
nvmlReturn_t nvmlDeviceGetTemperature(device *handle, int sensor, unsigned int *celsius) { (void)sensor; return small(handle, "temperature", celsius); }
nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(device *handle, unsigned long long *bits) { return number(handle, "reasons", bits); }
nvmlReturn_t nvmlDeviceGetPcieThroughput(device *handle, int way, unsigned int *kib) { return small(handle, way ? "pcie_rx" : "pcie_tx", kib); }

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(device *handle, unsigned int *count, process *found) {
    static char text[1024];
    static device *of;
    nvmlReturn_t code;
    unsigned int seen = 0, room = found ? *count : 0;
    if (!found || of != handle) snprintf(text, sizeof text, "%s", next(handle->name, "processes", &code));
    else code = SUCCESS;
    of = handle;
    for (const char *at = text; code == SUCCESS && *at >= '0' && *at <= '9'; seen++) {
        process one = {0, 0, 0, 0};
        char *end;
        one.pid = (unsigned int)strtoul(at, &end, 10);
        one.used = *end == ':' ? strtoull(end + 1, &end, 10) : ~0ull;
        if (seen < room) found[seen] = one;
        at = *end == ',' ? end + 1 : end;
    }
    *count = seen;
    return code ? code : seen > room ? INSUFFICIENT_SIZE : SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMigMode(device *handle, unsigned int *current, unsigned int *pending) {
    nvmlReturn_t code = small(handle, "mig", current);
    *pending = *current;
    return code;
}

nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(device *handle, unsigned int *count) { return small(handle, "mig_slots", count); }

nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(device *handle, unsigned int index, device **instance) {
    char name[16];
    snprintf(name, sizeof name, "%.5s.%u", handle->name, index);
    for (int i = 0; i < line_count; i++)
        if (!strcmp(lines[i].device, name)) {
            *instance = named(name);
            return SUCCESS;
        }
    return NOT_FOUND;
}

const char *nvmlErrorString(nvmlReturn_t code) {
    static char text[32];
    snprintf(text, sizeof text, "error %d", code);
    return text;
}
