/* A libcuda.so.1 without a device, which records the processes that initialise CUDA.
 *
 * cuInit fails with CUDA_ERROR_NO_DEVICE (100), or with $FAKE_CUDA_ERROR. It appends a line to the file $FAKE_CUDA_LOG:
 * the pid and the command line of its process. All other functions fail in the same way, except those that ask what the
 * driver is. Those that vLLM's and torch's libraries are linked against are defined, so that they can be loaded.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NO_DEVICE = 100, CUDA_VERSION = 13000 };

static int error(void)
{
    const char *code = getenv("FAKE_CUDA_ERROR");
    return code ? atoi(code) : NO_DEVICE;
}

static void record(void)
{
    const char *path = getenv("FAKE_CUDA_LOG");
    char command[256], line[320];
    int file, length = 0;

    if (!path)
        return;
    if ((file = open("/proc/self/cmdline", O_RDONLY)) >= 0) {
        length = (int)read(file, command, sizeof command - 1);
        close(file);
    }
    if (length < 0)
        length = 0;
    for (int i = 0; i < length; i++)
        if (command[i] < ' ')
            command[i] = ' ';
    command[length] = '\0';
    length = snprintf(line, sizeof line, "%d %s\n", getpid(), command);
    if ((file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644)) >= 0) {
        if (write(file, line, (size_t)length) != length)
            abort();
        close(file);
    }
}

int cuInit(unsigned flags)
{
    (void)flags;
    record();
    return error();
}

int cuDriverGetVersion(int *version)
{
    *version = CUDA_VERSION;
    return 0;
}

int cuGetErrorString(int code, const char **text)
{
    (void)code;
    *text = "an error of the stand-in";
    return 0;
}

int cuGetErrorName(int code, const char **text)
{
    (void)code;
    *text = "CUDA_ERROR_OF_THE_STAND_IN";
    return 0;
}

#define FAILS(function)                                                                                                \
    int function(void) { return error(); }

FAILS(cuCtxGetCurrent)
FAILS(cuCtxGetDevice)
FAILS(cuCtxPopCurrent_v2)
FAILS(cuCtxPushCurrent_v2)
FAILS(cuCtxSetCurrent)
FAILS(cuDeviceGet)
FAILS(cuDeviceGetAttribute)
FAILS(cuDeviceGetCount)
FAILS(cuDeviceGetName)
FAILS(cuDevicePrimaryCtxGetState)
FAILS(cuDevicePrimaryCtxRelease_v2)
FAILS(cuDevicePrimaryCtxRetain)
FAILS(cuFuncGetAttribute)
FAILS(cuFuncSetAttribute)
FAILS(cuFuncSetCacheConfig)
FAILS(cuLaunchCooperativeKernel)
FAILS(cuLaunchKernel)
FAILS(cuLaunchKernelEx)
FAILS(cuLinkAddData_v2)
FAILS(cuLinkComplete)
FAILS(cuLinkCreate_v2)
FAILS(cuMemAddressFree)
FAILS(cuMemAddressReserve)
FAILS(cuMemCreate)
FAILS(cuMemGetAllocationGranularity)
FAILS(cuMemMap)
FAILS(cuMemRelease)
FAILS(cuMemSetAccess)
FAILS(cuMemUnmap)
FAILS(cuModuleGetFunction)
FAILS(cuModuleLoad)
FAILS(cuModuleLoadData)
FAILS(cuModuleLoadDataEx)
FAILS(cuModuleUnload)
FAILS(cuOccupancyMaxActiveBlocksPerMultiprocessor)
FAILS(cuPointerGetAttribute)
FAILS(cuTensorMapEncodeTiled)

FAILS(other)

/* How the CUDA runtime finds the functions above, and many more that it never calls without a device. */
int cuGetProcAddress_v2(const char *name, void **function, int version, unsigned long long flags, int *status)
{
    (void)version;
    (void)flags;
    if (status)
        *status = 0;
    if (!strcmp(name, "cuInit"))
        *function = (void *)cuInit;
    else if (!strcmp(name, "cuDriverGetVersion"))
        *function = (void *)cuDriverGetVersion;
    else if (!strcmp(name, "cuGetErrorString"))
        *function = (void *)cuGetErrorString;
    else if (!strcmp(name, "cuGetErrorName"))
        *function = (void *)cuGetErrorName;
    else if (!strcmp(name, "cuGetProcAddress"))
        *function = (void *)cuGetProcAddress_v2;
    else
        *function = (void *)other;
    return 0;
}

int cuGetProcAddress(const char *name, void **function, int version, unsigned long long flags)
{
    return cuGetProcAddress_v2(name, function, version, flags, NULL);
}
