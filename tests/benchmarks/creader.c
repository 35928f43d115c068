/* The bare kernel PTY as a peer, and the job that prints: the yardsticks of the benchmark.
 *
 *   creader bulk SHELL READY COMMAND MARKER      type COMMAND into SHELL, read until MARKER; prints seconds
 *   creader echo SHELL READY COMMAND MARKER N US type COMMAND, wait for MARKER, then N keys US apart;
 *                                                prints each key's microseconds, one a line
 *   creader write FILE COUNTER BYTES             print FILE over and over, BYTES in all (0: for ever);
 *                                                COUNTER, 24 bytes, mapped: bytes printed, start, end (ns)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 60000, CHUNK = 131072 };

static char buffer[CHUNK + 256];
static size_t kept; /* the end of what was read before, in front of the next read: a marker may be cut in two */

static void fail(const char *what)
{
    fprintf(stderr, "creader: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static size_t read_some(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, PATIENCE_MS) <= 0) {
        errno = ETIMEDOUT;
        fail("waiting for output");
    }
    ssize_t got = read(fd, buffer + kept, CHUNK);
    if (got <= 0)
        fail("reading the PTY");
    return (size_t)got;
}

static void read_until(int fd, const char *marker)
{
    size_t length = strlen(marker);
    for (kept = 0;;) {
        size_t have = kept + read_some(fd);
        if (memmem(buffer, have, marker, length)) {
            kept = 0;
            return;
        }
        size_t tail = have < length - 1 ? have : length - 1;
        memmove(buffer, buffer + have - tail, tail);
        kept = tail;
    }
}

static void write_all(int fd, const char *data, size_t size)
{
    while (size) {
        ssize_t wrote = write(fd, data, size);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            fail("writing");
        data += wrote;
        size -= (size_t)wrote;
    }
}

static int shell(const char *program, const char *ready)
{
    int fd;
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    pid_t pid = forkpty(&fd, NULL, NULL, &size);
    if (pid < 0)
        fail("forkpty");
    if (pid == 0) {
        execl(program, program, (char *)NULL);
        fail(program);
    }
    read_until(fd, ready);
    return fd;
}

static void print_for_ever(const char *file, const char *counter, uint64_t bytes)
{
    struct stat st;
    int in = open(file, O_RDONLY);
    if (in < 0 || fstat(in, &st) < 0 || st.st_size == 0)
        fail(file);
    char *text = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, in, 0);
    int out = open(counter, O_RDWR);
    if (text == MAP_FAILED || out < 0)
        fail(counter);
    volatile uint64_t *c = mmap(NULL, 24, PROT_READ | PROT_WRITE, MAP_SHARED, out, 0);
    if (c == MAP_FAILED)
        fail("mmap");
    c[1] = now_ns();
    uint64_t size = (uint64_t)st.st_size, done = 0;
    while (!bytes || done < bytes) {
        uint64_t at = done % size, part = size - at;
        if (part > 4096)
            part = 4096; /* as a program with a small buffer does, so that the counter moves smoothly */
        if (bytes && part > bytes - done)
            part = bytes - done;
        write_all(1, text + at, part);
        c[0] = done += part;
    }
    c[2] = now_ns();
}

int main(int argc, char **argv)
{
    if (argc == 6 && !strcmp(argv[1], "bulk")) {
        int fd = shell(argv[2], argv[3]);
        uint64_t start = now_ns();
        write_all(fd, argv[4], strlen(argv[4]));
        write_all(fd, "\r", 1);
        read_until(fd, argv[5]);
        printf("%.6f\n", (double)(now_ns() - start) / 1e9);
    } else if (argc == 8 && !strcmp(argv[1], "echo")) {
        int fd = shell(argv[2], argv[3]);
        write_all(fd, argv[4], strlen(argv[4]));
        write_all(fd, "\r", 1);
        read_until(fd, argv[5]);
        usleep(100000);
        for (int i = atoi(argv[6]); i > 0; i--) {
            usleep((useconds_t)atoi(argv[7]));
            uint64_t start = now_ns();
            write_all(fd, "x", 1);
            read_some(fd);
            printf("%.3f\n", (double)(now_ns() - start) / 1e3);
        }
    } else if (argc == 5 && !strcmp(argv[1], "write")) {
        print_for_ever(argv[2], argv[3], strtoull(argv[4], NULL, 10));
    } else {
        fprintf(stderr, "usage: see the first lines of creader.c\n");
        return 2;
    }
    return 0;
}
