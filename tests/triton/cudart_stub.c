/* A stand-in for CUDA's runtime library: the memory of its two GPUs is this process'. */
#include <stdlib.h>
#include <string.h>

static int allocations, device;

const char *cudaGetErrorString(int code) {
    return code == 100 ? "no CUDA-capable device is detected" : "invalid argument";
}

int cudaGetDeviceCount(int *count) {
    if (getenv("STUB_CUDA_FAIL")) return 100;
    *count = 2;
    return 0;
}

int cudaSetDevice(int number) {
    device = number;
    return number < 2 ? 0 : 1;
}

int cudaMalloc(void **pointer, size_t size) {
    *pointer = malloc(size);
    allocations++;
    return 0;
}

int cudaFree(void *pointer) {
    free(pointer);
    allocations--;
    return 0;
}

int cudaMemcpy(void *to, const void *from, size_t size, int kind) {
    if (kind != 1 && kind != 2) return 1;
    memcpy(to, from, size);
    return 0;
}

typedef struct {
    unsigned char reserved[64];
} cudaIpcMemHandle_t;

int cudaIpcGetMemHandle(cudaIpcMemHandle_t *handle, void *pointer) {
    memset(handle, 0, sizeof *handle);
    memcpy(handle, &pointer, sizeof pointer);
    return 0;
}

int stub_allocations(void) { return allocations; }
int stub_device(void) { return device; }
