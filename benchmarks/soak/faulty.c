/* Writes that fail, for the soak: cc -shared -fPIC -o faulty.so faulty.c -ldl, then LD_PRELOAD it.

   FAULTY_BELOW   the folder whose files are affected
   FAULTY_ERRNO   what goes wrong, as a number
   FAULTY_AFTER   how many writes succeed before all others fail; for opening, 0

   With FAULTY_OPEN=1 it is opening for writing that fails, otherwise writing, syncing and growing. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static int is_below(const char *path) {
    const char *folder = getenv("FAULTY_BELOW");
    return folder && !strncmp(path, folder, strlen(folder));
}

/* Whether the operation on this descriptor is to fail; sets errno. */
static int fails(int descriptor) {
    static long done = 0;
    char link[64], path[4200];
    if (getenv("FAULTY_OPEN")) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (!is_below(path)) return 0;
    if (__sync_fetch_and_add(&done, 1) < atol(getenv("FAULTY_AFTER"))) return 0;
    errno = atoi(getenv("FAULTY_ERRNO"));
    return 1;
}

static int refuses(const char *path, int flags) {
    if (!getenv("FAULTY_OPEN") || !is_below(path) || !(flags & (O_WRONLY | O_RDWR | O_CREAT)))
        return 0;
    errno = atoi(getenv("FAULTY_ERRNO"));
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define WRITING(type, name, parameters, arguments)              \
    type name parameters {                                      \
        return fails(fd) ? (type)-1 : REAL(name) arguments;     \
    }
WRITING(ssize_t, write, (int fd, const void *b, size_t n), (fd, b, n))
WRITING(ssize_t, pwrite, (int fd, const void *b, size_t n, off_t o), (fd, b, n, o))
WRITING(ssize_t, pwrite64, (int fd, const void *b, size_t n, off64_t o), (fd, b, n, o))
WRITING(ssize_t, writev, (int fd, const struct iovec *v, int n), (fd, v, n))
WRITING(int, ftruncate, (int fd, off_t n), (fd, n))
WRITING(int, ftruncate64, (int fd, off64_t n), (fd, n))
WRITING(int, fsync, (int fd), (fd))
WRITING(int, fdatasync, (int fd), (fd))

size_t fwrite(const void *b, size_t size, size_t n, FILE *file) {
    return fails(fileno(file)) ? 0 : REAL(fwrite)(b, size, n, file);
}

#define OPENING(name)                                           \
    int name(const char *path, int flags, ...) {                \
        va_list rest;                                           \
        va_start(rest, flags);                                  \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, int) : 0; \
        va_end(rest);                                           \
        return refuses(path, flags) ? -1 : REAL(name)(path, flags, mode); \
    }
OPENING(open)
OPENING(open64)

#define OPENING_AT(name)                                        \
    int name(int at, const char *path, int flags, ...) {        \
        va_list rest;                                           \
        va_start(rest, flags);                                  \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, int) : 0; \
        va_end(rest);                                           \
        return refuses(path, flags) ? -1 : REAL(name)(at, path, flags, mode); \
    }
OPENING_AT(openat)
OPENING_AT(openat64)

FILE *fopen64(const char *path, const char *mode) {
    return refuses(path, *mode == 'r' ? O_RDONLY : O_WRONLY) ? NULL : REAL(fopen64)(path, mode);
}
FILE *fopen(const char *path, const char *mode) {
    return refuses(path, *mode == 'r' ? O_RDONLY : O_WRONLY) ? NULL : REAL(fopen)(path, mode);
}
