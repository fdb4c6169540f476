/* Preloaded into the product: ends it (SIGKILL) at its N-th write to a file of the library.
 *
 * IMGSEARCH_KILL_WRITE=N counts write, pwrite, fwrite, fsync, fdatasync, ftruncate, rename and
 * unlink on files below IMGSEARCH_KILL_BELOW. The N-th write is done by half. Children that are
 * started later do not count. The number reached is kept in IMGSEARCH_KILL_COUNT (a file).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static long limit, seen;
static char below[4096];
static int counter = -1;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void) {
    const char *n = getenv("IMGSEARCH_KILL_WRITE"), *b = getenv("IMGSEARCH_KILL_BELOW");
    const char *c = getenv("IMGSEARCH_KILL_COUNT");
    if (!n || !b) return;
    limit = atol(n);
    strncpy(below, b, sizeof below - 1);
    if (c) counter = open(c, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    unsetenv("IMGSEARCH_KILL_WRITE");
}

static int ours_path(const char *path) {
    return below[0] && path && strncmp(path, below, strlen(below)) == 0;
}

static int ours(int fd) {
    char link[64], path[4096];
    if (!below[0] || !limit) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    return ours_path(path);
}

/* Whether this is the last one. */
static int last(void) {
    pthread_mutex_lock(&turn);
    int hit = ++seen == limit;
    if (counter >= 0) {
        char text[32];
        int n = snprintf(text, sizeof text, "%-20ld", seen);
        static ssize_t (*real)(int, const void *, size_t, off_t);
        if (!real) real = dlsym(RTLD_NEXT, "pwrite");
        real(counter, text, n, 0);
    }
    pthread_mutex_unlock(&turn);
    return hit;
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

#define REAL(result, name, ...)                                  \
    static result (*real)(__VA_ARGS__);                          \
    if (!real) real = dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t count) {
    REAL(ssize_t, write, int, const void *, size_t);
    if (ours(fd) && last()) { real(fd, data, count / 2); die(); }
    return real(fd, data, count);
}

ssize_t pwrite(int fd, const void *data, size_t count, off_t at) {
    REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
    if (ours(fd) && last()) { real(fd, data, count / 2, at); die(); }
    return real(fd, data, count, at);
}

ssize_t pwrite64(int fd, const void *data, size_t count, off64_t at) {
    REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t);
    if (ours(fd) && last()) { real(fd, data, count / 2, at); die(); }
    return real(fd, data, count, at);
}

size_t fwrite(const void *data, size_t size, size_t count, FILE *file) {
    REAL(size_t, fwrite, const void *, size_t, size_t, FILE *);
    if (ours(fileno(file)) && last()) { real(data, size, count / 2, file); fflush(file); die(); }
    return real(data, size, count, file);
}

int fsync(int fd) {
    REAL(int, fsync, int);
    if (ours(fd) && last()) die();
    return real(fd);
}

int fdatasync(int fd) {
    REAL(int, fdatasync, int);
    if (ours(fd) && last()) die();
    return real(fd);
}

int ftruncate(int fd, off_t length) {
    REAL(int, ftruncate, int, off_t);
    if (ours(fd) && last()) die();
    return real(fd, length);
}

int ftruncate64(int fd, off64_t length) {
    REAL(int, ftruncate64, int, off64_t);
    if (ours(fd) && last()) die();
    return real(fd, length);
}

int rename(const char *from, const char *to) {
    REAL(int, rename, const char *, const char *);
    if (limit && ours_path(to) && last()) die();
    return real(from, to);
}

int unlink(const char *path) {
    REAL(int, unlink, const char *);
    if (limit && ours_path(path) && last()) die();
    return real(path);
}
