/* Preloaded into the database server: every flush to disk takes BACKOUT_BENCH_FLUSH_US microseconds longer. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

typedef int (*flush_function)(int);

static int flush_later(const char *name, int descriptor) {
    const char *microseconds = getenv("BACKOUT_BENCH_FLUSH_US");
    long pause = microseconds ? atol(microseconds) : 0;
    struct timespec left = {pause / 1000000, (pause % 1000000) * 1000};
    /* Not interrupted early: a signal to the server must not make the disk faster. */
    while (nanosleep(&left, &left) != 0) { }
    return ((flush_function)dlsym(RTLD_NEXT, name))(descriptor);
}

int fsync(int descriptor) { return flush_later("fsync", descriptor); }

int fdatasync(int descriptor) { return flush_later("fdatasync", descriptor); }
