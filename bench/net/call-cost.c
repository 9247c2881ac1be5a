/* What system calls cost without a language around them: nanoseconds for reading 64 bytes of /dev/zero, writing them to
 * /dev/null, asking an empty epoll set, and reading the clock. bench/net/lib/call-cost.ts makes the same calls through FFI. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { CALLS = 200000, ROUNDS = 15 };

static char memory[4096];
static int zero, null, set;

static void read_zero(void) { if (read(zero, memory, 64) < 0) _exit(1); }
static void write_null(void) { if (write(null, memory, 64) < 0) _exit(1); }
static void ask_epoll(void) { struct epoll_event event; epoll_wait(set, &event, 1, 0); }
static void read_clock(void) { struct timespec now; clock_gettime(CLOCK_MONOTONIC, &now); }

static double time_of(void (*call)(void)) {
  double best = 1e9;
  for (int round = 0; round < ROUNDS; round++) {
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (int i = 0; i < CALLS; i++) call();
    clock_gettime(CLOCK_MONOTONIC, &to);
    double each = ((to.tv_sec - from.tv_sec) * 1e9 + (to.tv_nsec - from.tv_nsec)) / CALLS;
    if (each < best) best = each;
  }
  return best;
}

int main(void) {
  zero = open("/dev/zero", O_RDONLY);
  null = open("/dev/null", O_WRONLY);
  set = epoll_create1(0);
  if (zero < 0 || null < 0 || set < 0) return 1;
  printf("{\"read\":%.1f,\"write\":%.1f,\"epoll\":%.1f,\"clock\":%.1f}\n", time_of(read_zero), time_of(write_null),
         time_of(ask_epoll), time_of(read_clock));
  return 0;
}
