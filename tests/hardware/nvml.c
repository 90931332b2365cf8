/* A libnvidia-ml.so.1 that plays the machine which the file $FAKE_NVML_FLEET describes, a line for each thing:
 *
 *   driver VERSION CUDA                        such as: driver 570.86.15 12080
 *   gpu UUID TOTAL FREE MAJOR MINOR NAME       memory in bytes; GPUs are numbered as they come
 *   mig GPU UUID TOTAL FREE NAME               an instance of a GPU, which is then in MIG mode
 *   migmode GPU                                MIG mode without an instance
 *   process DEVICE KIND PID BYTES NAME         KIND is compute or graphics; BYTES and NAME may be "-": not reported
 *   computemode GPU MODE                       a number of nvmlComputeMode_t; 0 (default) if not named
 *   fabric GPU STATE                           a number of nvmlGpuFabricState_t; 0 (not supported) if not named
 *   link GPU GPU LEVEL                         nvlink, or a number of nvmlGpuTopologyLevel_t; 50 (system) if not named
 *   error FUNCTION CODE [DEVICE]               this function fails, for one device (numbered as above) or always
 *
 * MIG instances are devices too: their numbers follow those of all GPUs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, UNKNOWN = 999 };
enum { DEVICES = 64, PROCESSES = 64, LINKS = 1024, ERRORS = 64, PLACES = 7, SYSTEM = 50, NVLINK = -1 };

typedef unsigned int uint;
typedef unsigned long long bytes;

typedef struct {
    int parent; /* of a MIG instance; -1 for a whole GPU */
    int mig, compute_mode, fabric_state;
    char uuid[96], name[96];
    bytes total, free;
    int major, minor;
} Device;

typedef struct { bytes total, free, used; } Memory;
typedef struct { uint pid; bytes used; uint instance, compute; } ProcessInfo;

static Device devices[DEVICES];
static struct { int device, compute; uint pid; bytes used; char name[256]; } processes[PROCESSES];
static struct { int one, other, level; } links[LINKS];
static struct { char function[64]; int code, device; } errors[ERRORS];
static int device_count, gpu_count, process_count, link_count, error_count, cuda = 12080;
static char driver[80] = "570.86.15";

static int failing(const char *function, const void *device)
{
    int number = device ? (int)((const Device *)device - devices) : -1;
    for (int i = 0; i < error_count; i++)
        if (!strcmp(errors[i].function, function) && (errors[i].device < 0 || errors[i].device == number))
            return errors[i].code;
    return SUCCESS;
}

#define FAIL(device)                                                                                                   \
    do {                                                                                                               \
        int code = failing(__func__, device);                                                                          \
        if (code)                                                                                                      \
            return code;                                                                                               \
    } while (0)

static int copy(char *target, uint length, const char *text)
{
    if (strlen(text) >= length)
        return INSUFFICIENT_SIZE;
    strcpy(target, text);
    return SUCCESS;
}

static void read_line(const char *line)
{
    Device *device = &devices[device_count];
    char word[96], bytes_text[32];
    int number, kind, value;

    if (sscanf(line, "driver %79s %d", driver, &cuda) == 2)
        return;
    if (sscanf(line, "gpu %95s %llu %llu %d %d %95[^\n]", device->uuid, &device->total, &device->free, &device->major,
               &device->minor, device->name) == 6) {
        device->parent = -1;
        device_count++;
        gpu_count++;
    } else if (sscanf(line, "mig %d %95s %llu %llu %95[^\n]", &device->parent, device->uuid, &device->total,
                      &device->free, device->name) == 5) {
        devices[device->parent].mig = 1;
        device_count++;
    } else if (sscanf(line, "migmode %d", &number) == 1) {
        devices[number].mig = 1;
    } else if (sscanf(line, "computemode %d %d", &number, &value) == 2) {
        devices[number].compute_mode = value;
    } else if (sscanf(line, "fabric %d %d", &number, &value) == 2) {
        devices[number].fabric_state = value;
    } else if (sscanf(line, "process %d %95s %u %31s %255[^\n]", &processes[process_count].device, word,
                      &processes[process_count].pid, bytes_text, processes[process_count].name) == 5) {
        processes[process_count].compute = !strcmp(word, "compute");
        /* NVML_VALUE_NOT_AVAILABLE */
        processes[process_count].used = *bytes_text == '-' ? ~0ULL : strtoull(bytes_text, NULL, 10);
        process_count++;
    } else if (sscanf(line, "link %d %d %95s", &links[link_count].one, &links[link_count].other, word) == 3) {
        links[link_count++].level = !strcmp(word, "nvlink") ? NVLINK : atoi(word);
    } else if ((kind = sscanf(line, "error %63s %d %d", errors[error_count].function, &errors[error_count].code,
                              &errors[error_count].device)) >= 2) {
        if (kind == 2)
            errors[error_count].device = -1;
        error_count++;
    } else if (*line != '\n' && *line != '#') {
        fprintf(stderr, "not a line of a fleet: %s", line);
        exit(1);
    }
}

static int level(const Device *one, const Device *other)
{
    int a = (int)(one - devices), b = (int)(other - devices);
    for (int i = 0; i < link_count; i++)
        if ((links[i].one == a && links[i].other == b) || (links[i].one == b && links[i].other == a))
            return links[i].level;
    return SYSTEM;
}

int nvmlInitWithFlags(uint flags)
{
    const char *path = getenv("FAKE_NVML_FLEET");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[1024];

    (void)flags;
    if (!file)
        return UNKNOWN;
    device_count = gpu_count = process_count = link_count = error_count = 0;
    memset(devices, 0, sizeof devices);
    while (fgets(line, sizeof line, file))
        read_line(line);
    fclose(file);
    FAIL(NULL);
    return SUCCESS;
}

int nvmlShutdown(void) { return SUCCESS; }

const char *nvmlErrorString(int code)
{
    return code == UNKNOWN ? "Unknown Error" : "Other Error";
}

int nvmlSystemGetDriverVersion(char *version, uint length)
{
    FAIL(NULL);
    return copy(version, length, driver);
}

int nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    FAIL(NULL);
    *version = cuda;
    return SUCCESS;
}

int nvmlSystemGetProcessName(uint pid, char *name, uint length)
{
    FAIL(NULL);
    for (int i = 0; i < process_count; i++)
        if (processes[i].pid == pid)
            return strcmp(processes[i].name, "-") ? copy(name, length, processes[i].name) : NOT_FOUND;
    return NOT_FOUND;
}

int nvmlDeviceGetCount_v2(uint *count)
{
    FAIL(NULL);
    *count = (uint)gpu_count;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(uint index, Device **device)
{
    if (index >= (uint)gpu_count)
        return INVALID_ARGUMENT;
    FAIL(&devices[index]);
    *device = &devices[index];
    return SUCCESS;
}

int nvmlDeviceGetUUID(Device *device, char *uuid, uint length)
{
    FAIL(device);
    return copy(uuid, length, device->uuid);
}

int nvmlDeviceGetName(Device *device, char *name, uint length)
{
    FAIL(device);
    return copy(name, length, device->name);
}

int nvmlDeviceGetMemoryInfo(Device *device, Memory *memory)
{
    FAIL(device);
    memory->total = device->total;
    memory->free = device->free;
    memory->used = device->total - device->free;
    return SUCCESS;
}

int nvmlDeviceGetCudaComputeCapability(Device *device, int *major, int *minor)
{
    FAIL(device);
    if (device->parent >= 0)
        return INVALID_ARGUMENT;
    *major = device->major;
    *minor = device->minor;
    return SUCCESS;
}

int nvmlDeviceGetMigMode(Device *device, uint *current, uint *pending)
{
    FAIL(device);
    if (device->major < 8)
        return NOT_SUPPORTED;
    *current = *pending = (uint)device->mig;
    return SUCCESS;
}

int nvmlDeviceGetComputeMode(Device *device, int *mode)
{
    FAIL(device);
    *mode = device->compute_mode;
    return SUCCESS;
}

typedef struct { unsigned char cluster[16]; int status; uint clique; unsigned char state; } FabricInfo;

int nvmlDeviceGetGpuFabricInfo(Device *device, FabricInfo *info)
{
    FAIL(device);
    memset(info, 0, sizeof *info);
    info->state = (unsigned char)device->fabric_state;
    return SUCCESS;
}

int nvmlDeviceGetMaxMigDeviceCount(Device *device, uint *count)
{
    FAIL(device);
    *count = PLACES;
    return SUCCESS;
}

/* The places between the instances are empty, as they are when some were destroyed. */
int nvmlDeviceGetMigDeviceHandleByIndex(Device *device, uint place, Device **instance)
{
    int parent = (int)(device - devices);
    FAIL(device);
    for (int i = 0, seen = 0; i < device_count; i++)
        if (devices[i].mig == 0 && devices[i].parent == parent && i >= gpu_count && 2 * seen++ == (int)place) {
            *instance = &devices[i];
            return SUCCESS;
        }
    return NOT_FOUND;
}

static int running(const Device *device, int compute, uint *count, ProcessInfo *found)
{
    uint room = *count;
    *count = 0;
    for (int i = 0; i < process_count; i++)
        if (&devices[processes[i].device] == device && processes[i].compute == compute) {
            if (found && *count < room)
                found[*count] = (ProcessInfo){processes[i].pid, processes[i].used, 0, 0};
            ++*count;
        }
    return *count > room ? INSUFFICIENT_SIZE : SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(Device *device, uint *count, ProcessInfo *found)
{
    FAIL(device);
    return running(device, 1, count, found);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(Device *device, uint *count, ProcessInfo *found)
{
    FAIL(device);
    return running(device, 0, count, found);
}

int nvmlDeviceGetP2PStatus(Device *one, Device *other, int capability, int *status)
{
    FAIL(one);
    *status = capability == 2 && level(one, other) == NVLINK ? 0 : 5; /* 2: NVLink; 0: works; 5: not supported */
    return SUCCESS;
}

int nvmlDeviceGetTopologyCommonAncestor(Device *one, Device *other, int *found)
{
    FAIL(one);
    *found = level(one, other) == NVLINK ? SYSTEM : level(one, other);
    return SUCCESS;
}

/* The rest is what vLLM and torch ask beside our own code. */

int nvmlInit(void) { return nvmlInitWithFlags(0); }

int nvmlDeviceGetHandleByUUID(const char *uuid, Device **device)
{
    FAIL(NULL);
    for (int i = 0; i < device_count; i++)
        if (!strcmp(devices[i].uuid, uuid)) {
            *device = &devices[i];
            return SUCCESS;
        }
    return NOT_FOUND;
}

/* Of a MIG instance it is the place in its parent, not a number among all devices. */
int nvmlDeviceGetIndex(Device *device, uint *index)
{
    FAIL(device);
    *index = (uint)(device - devices);
    if (device->parent >= 0) {
        *index = 0;
        for (const Device *other = devices + gpu_count; other < device; other++)
            if (other->parent == device->parent)
                *index += 2;
    }
    return SUCCESS;
}

int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Device *instance, Device **device)
{
    FAIL(instance);
    if (instance->parent < 0)
        return INVALID_ARGUMENT;
    *device = &devices[instance->parent];
    return SUCCESS;
}

int nvmlDeviceIsMigDeviceHandle(Device *device, uint *is_instance)
{
    FAIL(device);
    *is_instance = device->parent >= 0;
    return SUCCESS;
}

typedef struct { char legacy_id[16]; uint domain, bus, device, id, subsystem_id; char bus_id[32]; } PciInfo;

int nvmlDeviceGetPciInfo_v3(Device *device, PciInfo *info)
{
    FAIL(device);
    memset(info, 0, sizeof *info);
    info->bus = (uint)(device - devices) + 1;
    snprintf(info->bus_id, sizeof info->bus_id, "00000000:%02X:00.0", info->bus);
    return SUCCESS;
}
