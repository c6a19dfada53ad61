/*
 * Preloaded into a broker: what a control file says happens when a file is synced.
 * "fail": it fails, as on a broken disk. "before", "after": the process is killed right before, or right after it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static int sync_as_told(const char *function, int descriptor) {
  char order = 0;
  const char *file = getenv("PLOMBE_TEST_DISK_FAULTS");
  int control = file == NULL ? -1 : open(file, O_RDONLY | O_CLOEXEC);
  if (control >= 0) {
    if (read(control, &order, 1) != 1) order = 0;
    close(control);
  }
  if (order == 'f') {
    errno = EIO;
    return -1;
  }
  if (order == 'b') kill(getpid(), SIGKILL);
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, function);
  int result = real(descriptor);
  if (order == 'a') kill(getpid(), SIGKILL);
  return result;
}

int fsync(int descriptor) { return sync_as_told("fsync", descriptor); }

int fdatasync(int descriptor) { return sync_as_told("fdatasync", descriptor); }
