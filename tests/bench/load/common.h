/* What both programs need: a clock, room for thousands of sockets, a way to give up. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MILLISECOND 1000000ull /* in nanoseconds, the unit of every time here */
#define SECOND 1000000000ull
#define BATCH 512 /* socket events taken at once */

/* Precedes the time an event was sent, in nanoseconds, in the event's text. Stands nowhere else in an answer. */
#define STAMP "\"delta\":\"@"

static inline void give_up(const char *what)
{
    perror(what);
    exit(1);
}

/* CLOCK_MONOTONIC is one clock for all processes of a machine: a stamp of one program means something to the other. */
static inline uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * SECOND + time.tv_nsec;
}

static inline double cpu_seconds(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static inline void *grow(void *memory, size_t bytes)
{
    memory = realloc(memory, bytes);
    if (!memory)
        give_up("memory");
    return memory;
}

/* As many descriptors as allowed; writing to a lost connection is an error, not a signal; no outliving the parent. */
static inline void settle_in(void)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static inline struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* One small piece at a time goes each way: it must not wait for the acknowledgement of the last. */
static inline void send_at_once(int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static inline void watch(int epoll, int change, int fd, uint32_t events, void *owner)
{
    struct epoll_event event = {.events = events, .data.ptr = owner};
    if (epoll_ctl(epoll, change, fd, &event))
        give_up("epoll_ctl");
}

/* Socket events, or none once it is `until`. poll() on the epoll, because epoll_wait() knows only milliseconds. */
static inline int wait_until(int epoll, uint64_t until, struct epoll_event *events)
{
    uint64_t time = now(), left = until > time ? until - time : 0;
    struct timespec timeout = {.tv_sec = left / SECOND, .tv_nsec = left % SECOND};
    struct pollfd ready = {.fd = epoll, .events = POLLIN};
    if (left)
        ppoll(&ready, 1, &timeout, NULL);
    return epoll_wait(epoll, events, BATCH, 0);
}
