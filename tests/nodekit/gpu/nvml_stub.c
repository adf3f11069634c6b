/* Stands in for libnvidia-ml.so.1 on a machine without a driver: two cards, or an error from the call that NVML_FAILS names. */
#include <stdlib.h>
#include <string.h>

typedef struct { unsigned long long total, free, used; } memory_t;

static int says(const char *call) {
  const char *fails = getenv("NVML_FAILS");
  return fails && !strcmp(fails, call) ? 999 : 0; /* NVML_ERROR_UNKNOWN */
}

int nvmlInitWithFlags(unsigned flags) { (void)flags; return says("init"); }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { (void)code; return "Unknown Error"; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return says("count"); }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
  *device = (void *)(long)(index + 1);
  return says("handle");
}
int nvmlDeviceGetUUID(void *device, char *uuid, unsigned length) {
  strncpy(uuid, (long)device == 1 ? "GPU-5f2c" : "GPU-77aa", length);
  return says("uuid");
}
int nvmlDeviceGetMemoryInfo(void *device, memory_t *memory) {
  memory->total = (unsigned long long)((long)device * 24) << 30;
  return says("memory");
}
