/* The minimal forwarder over TAP devices: it reads from one device and writes to the other, without parsing frames.
 * It opens one device in each of two network namespaces, with a virtio-net header and every offload that the kernel supports.
 * Its rate is the limit set by devices and system calls, and the reference for forwarders that also process packets.
 *
 *   relay NETNS-A DEVICE-A NETNS-B DEVICE-B      prints "ready" when both devices are open
 *
 * Numbers: include/uapi/linux/if_tun.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

enum { VNET_HEADER_BYTES = 12, BUDGET = 64, FRAME_BYTES = 128 * 1024 };

static void fail(const char *what) {
  fprintf(stderr, "relay: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int open_tap(const char *netns, const char *name) {
  char path[256];
  snprintf(path, sizeof path, "/run/netns/%s", netns);
  int space = open(path, O_RDONLY | O_CLOEXEC);
  if (space < 0 || setns(space, CLONE_NEWNET) < 0) fail(path);
  close(space);
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) fail("/dev/net/tun");
  struct ifreq request;
  memset(&request, 0, sizeof request);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
  if (ioctl(fd, TUNSETIFF, &request) < 0) fail("TUNSETIFF");
  int header = VNET_HEADER_BYTES;
  if (ioctl(fd, TUNSETVNETHDRSZ, &header) < 0) fail("TUNSETVNETHDRSZ");
  unsigned plain = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
  /* USO exists since Linux 6.2; an older kernel returns EINVAL for its bits. */
  if (ioctl(fd, TUNSETOFFLOAD, plain | TUN_F_USO4 | TUN_F_USO6) < 0 && ioctl(fd, TUNSETOFFLOAD, plain) < 0)
    fail("TUNSETOFFLOAD");
  return fd;
}

/* Copies up to BUDGET frames from one device to the other; returns how many. A full queue drops the frame. */
static int drain(int from, int to, char *frame) {
  int moved = 0;
  while (moved < BUDGET) {
    ssize_t bytes = read(from, frame, FRAME_BYTES);
    if (bytes <= 0) break;
    if (write(to, frame, bytes) < 0 && errno == EBADFD) break;
    moved++;
  }
  return moved;
}

int main(int argc, char **argv) {
  if (argc != 5) {
    fprintf(stderr, "usage: relay NETNS-A DEVICE-A NETNS-B DEVICE-B\n");
    return 2;
  }
  static char frame[FRAME_BYTES];
  int a = open_tap(argv[1], argv[2]);
  int b = open_tap(argv[3], argv[4]);
  printf("ready\n");
  fflush(stdout);
  struct pollfd ports[2] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};
  for (;;) {
    if (drain(a, b, frame) + drain(b, a, frame) == 0) poll(ports, 2, -1);
  }
}
