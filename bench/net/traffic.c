/* Small traffic generators and counters, for measurements that no packaged tool offers.
 *
 *   traffic udp-send IP PORT SECONDS BYTES        as fast as one thread can; prints "sent N"
 *   traffic udp-receive PORT SECONDS              counts SECONDS from 0.2 s after the first datagram; "received N SECONDS"
 *   traffic udp-flows IP PORT SECONDS PER_SECOND  one datagram each of so many connections a second; "sent N"
 *   traffic accept PORT COUNT                     TCP on COUNT ports from PORT; answers one byte with its own port number
 *   traffic connect IP PORT SECONDS PARALLEL      connect, one byte, answer, reset, again; "connections N failed N"
 *   traffic first-packet IP PORT COUNT PAUSE_US   one connect at a time; microseconds of SYN to SYN/ACK, one per line
 *   traffic until IP PORT WANTED MILLISECONDS     connects until the answer is WANTED; prints the wall clock in ms
 *
 * Connections are closed with a reset, so that no port stays in TIME_WAIT and the rate can be sustained. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, MAX_PARALLEL = 256, MAX_DATAGRAM = 2048, MAX_EVENTS = 128, FLOW_PORTS = 60000 };

static void fail(const char *what) {
  fprintf(stderr, "traffic: %s: %s\n", what, strerror(errno));
  exit(1);
}

static double seconds(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec + now.tv_nsec / 1e9;
}

static struct sockaddr_in address(const char *ip, int port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
  if (inet_pton(AF_INET, ip, &to.sin_addr) != 1) {
    fprintf(stderr, "traffic: not an IPv4 address: %s\n", ip);
    exit(2);
  }
  return to;
}

static int open_socket(int type) {
  int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket");
  return fd;
}

static void reset_on_close(int fd) {
  struct linger now = {.l_onoff = 1, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

static int udp_send(const char *ip, int port, double length, int bytes) {
  int fd = open_socket(SOCK_DGRAM);
  struct sockaddr_in to = address(ip, port);
  if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0) fail("connect");
  static char payload[MAX_DATAGRAM];
  if (bytes > MAX_DATAGRAM) bytes = MAX_DATAGRAM;
  uint64_t sent = 0;
  double end = seconds(CLOCK_MONOTONIC) + length;
  while (seconds(CLOCK_MONOTONIC) < end)
    for (int i = 0; i < BATCH; i++)
      if (send(fd, payload, bytes, 0) == bytes) sent++;
  printf("sent %lu\n", sent);
  return 0;
}

/* Through a raw socket, which needs no port of its own for each connection. */
static int udp_flows(const char *ip, int port, double length, int per_second) {
  int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_UDP);
  if (fd < 0) fail("socket");
  struct sockaddr_in to = address(ip, 0);
  uint64_t sent = 0;
  double begin = seconds(CLOCK_MONOTONIC);
  for (double now = begin; now < begin + length; now = seconds(CLOCK_MONOTONIC)) {
    for (uint64_t due = (now - begin) * per_second; sent < due; sent++) {
      /* Source port, destination port, length, no checksum (RFC 768); a pair of ports is used once. */
      uint16_t datagram[] = {htons(1024 + sent % FLOW_PORTS), htons(port + sent / FLOW_PORTS), htons(8), 0};
      if (sendto(fd, datagram, sizeof datagram, 0, (struct sockaddr *)&to, sizeof to) < 0 && errno != ENOBUFS) fail("sendto");
    }
    usleep(1000);
  }
  printf("sent %lu\n", sent);
  return 0;
}

static int udp_receive(int port, double length) {
  int fd = open_socket(SOCK_DGRAM);
  int room = 8 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  struct timeval patience = {.tv_sec = 0, .tv_usec = 200000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  struct sockaddr_in at = address("0.0.0.0", port);
  if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0) fail("bind");
  printf("ready\n");
  fflush(stdout);
  static char payload[BATCH][MAX_DATAGRAM];
  struct mmsghdr messages[BATCH];
  struct iovec parts[BATCH];
  memset(messages, 0, sizeof messages);
  for (int i = 0; i < BATCH; i++) {
    parts[i] = (struct iovec){payload[i], MAX_DATAGRAM};
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  uint64_t received = 0;
  double begin = 0, give_up = seconds(CLOCK_MONOTONIC) + 10 + length;
  for (;;) {
    int got = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
    double now = seconds(CLOCK_MONOTONIC);
    if (got > 0 && begin == 0) begin = now + 0.2;
    if (got > 0 && now >= begin) received += got;
    if ((begin > 0 && now >= begin + length) || now > give_up) {
      printf("received %lu %f\n", received, length);
      return 0;
    }
  }
}

static void accept_forever(int port, int count) {
  int poller = epoll_create1(EPOLL_CLOEXEC);
  for (int i = 0; i < count; i++) {
    int fd = open_socket(SOCK_STREAM | SOCK_NONBLOCK);
    int yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    struct sockaddr_in at = address("0.0.0.0", port + i);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 4096) < 0) fail("listen");
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (1ull << 32) | fd};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
  }
  printf("ready\n");
  fflush(stdout);
  for (;;) {
    struct epoll_event events[MAX_EVENTS];
    int ready = epoll_wait(poller, events, MAX_EVENTS, -1);
    for (int i = 0; i < ready; i++) {
      int fd = (int)(events[i].data.u64 & 0xffffffff);
      if (events[i].data.u64 >> 32) {
        int child;
        while ((child = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
          struct epoll_event event = {.events = EPOLLIN, .data.u64 = child};
          epoll_ctl(poller, EPOLL_CTL_ADD, child, &event);
        }
        continue;
      }
      char byte;
      if (read(fd, &byte, 1) != 1) {
        close(fd);
        continue;
      }
      struct sockaddr_in own;
      socklen_t size = sizeof own;
      getsockname(fd, (struct sockaddr *)&own, &size);
      if (write(fd, &own.sin_port, 2) != 2) close(fd);
    }
  }
}

static int begin_connect(int poller, const struct sockaddr_in *to, int slot) {
  int fd = open_socket(SOCK_STREAM | SOCK_NONBLOCK);
  reset_on_close(fd);
  if (connect(fd, (const struct sockaddr *)to, sizeof *to) < 0 && errno != EINPROGRESS) {
    close(fd);
    return -1;
  }
  struct epoll_event event = {.events = EPOLLOUT, .data.u32 = slot};
  epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
  return fd;
}

static int connect_rate(const char *ip, int port, double length, int parallel) {
  if (parallel > MAX_PARALLEL) parallel = MAX_PARALLEL;
  struct sockaddr_in to = address(ip, port);
  int poller = epoll_create1(EPOLL_CLOEXEC);
  int sockets[MAX_PARALLEL];
  char asked[MAX_PARALLEL] = {0};
  uint64_t done = 0, failed = 0;
  for (int i = 0; i < parallel; i++) sockets[i] = begin_connect(poller, &to, i);
  double start = seconds(CLOCK_MONOTONIC), now = start;
  while ((now = seconds(CLOCK_MONOTONIC)) < start + length) {
    struct epoll_event events[MAX_EVENTS];
    int ready = epoll_wait(poller, events, MAX_EVENTS, 100);
    for (int i = 0; i < ready; i++) {
      int slot = (int)events[i].data.u32, fd = sockets[slot];
      int broken = (events[i].events & (EPOLLERR | EPOLLHUP)) != 0;
      if (!broken && !asked[slot]) {
        asked[slot] = 1;
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = slot};
        epoll_ctl(poller, EPOLL_CTL_MOD, fd, &event);
        if (write(fd, "x", 1) == 1) continue;
        broken = 1;
      }
      uint16_t answer;
      if (!broken && read(fd, &answer, 2) == 2) done++;
      else failed++;
      close(fd);
      asked[slot] = 0;
      sockets[slot] = begin_connect(poller, &to, slot);
    }
    for (int i = 0; i < parallel; i++)
      if (sockets[i] < 0) {
        failed++;
        sockets[i] = begin_connect(poller, &to, i);
      }
  }
  printf("connections %lu failed %lu seconds %f\n", done, failed, now - start);
  return 0;
}

static int first_packet(const char *ip, int port, int count, int pause_us) {
  struct sockaddr_in to = address(ip, port);
  struct timeval patience = {.tv_sec = 2};
  for (int i = 0; i < count; i++) {
    int fd = open_socket(SOCK_STREAM);
    reset_on_close(fd);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    double before = seconds(CLOCK_MONOTONIC);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0) printf("%.2f\n", (seconds(CLOCK_MONOTONIC) - before) * 1e6);
    else printf("failed\n");
    close(fd);
    if (pause_us > 0) usleep(pause_us);
  }
  return 0;
}

static int until(const char *ip, int port, int wanted, double patience_ms) {
  struct sockaddr_in to = address(ip, port);
  struct timeval patience = {.tv_usec = 500000};
  double end = seconds(CLOCK_MONOTONIC) + patience_ms / 1000;
  printf("ready\n");
  fflush(stdout);
  while (seconds(CLOCK_MONOTONIC) < end) {
    int fd = open_socket(SOCK_STREAM);
    reset_on_close(fd);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    uint16_t answer = 0;
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0 && write(fd, "x", 1) == 1 && read(fd, &answer, 2) == 2 &&
        ntohs(answer) == wanted) {
      printf("seen %.3f\n", seconds(CLOCK_REALTIME) * 1000);
      return 0;
    }
    close(fd);
    usleep(200);
  }
  fprintf(stderr, "traffic: port %d never answered\n", wanted);
  return 1;
}

int main(int argc, char **argv) {
  const char *mode = argc > 1 ? argv[1] : "";
  if (!strcmp(mode, "udp-send") && argc == 6) return udp_send(argv[2], atoi(argv[3]), atof(argv[4]), atoi(argv[5]));
  if (!strcmp(mode, "udp-flows") && argc == 6) return udp_flows(argv[2], atoi(argv[3]), atof(argv[4]), atoi(argv[5]));
  if (!strcmp(mode, "udp-receive") && argc == 4) return udp_receive(atoi(argv[2]), atof(argv[3]));
  if (!strcmp(mode, "accept") && argc == 4) accept_forever(atoi(argv[2]), atoi(argv[3]));
  if (!strcmp(mode, "connect") && argc == 6) return connect_rate(argv[2], atoi(argv[3]), atof(argv[4]), atoi(argv[5]));
  if (!strcmp(mode, "first-packet") && argc == 6) return first_packet(argv[2], atoi(argv[3]), atoi(argv[4]), atoi(argv[5]));
  if (!strcmp(mode, "until") && argc == 6) return until(argv[2], atoi(argv[3]), atoi(argv[4]), atof(argv[5]));
  fprintf(stderr, "usage: traffic udp-send|udp-flows|udp-receive|accept|connect|first-packet|until ... (see the head of traffic.c)\n");
  return 2;
}
