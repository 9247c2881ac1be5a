#!/bin/sh
# Runs a command in a world of its own: mounts (/run, /dev/shm), network and process ids. What a cluster of the user's has
# on this machine is neither seen nor touched by it, and nothing of it is left when it ends, however it ends.
#   test/lib/private-world.sh COMMAND…
set -eu
exec unshare --mount --net --pid --fork --kill-child --mount-proc sh -eu -c '
  mount --make-rprivate /
  mount -t tmpfs tmpfs /run
  mkdir -p /run/netns /run/lock
  mount -t tmpfs tmpfs /dev/shm
  ip link set lo up
  # Not exec: process 1 has to reap orphans, and a shell does.
  "$@" && exit 0 || exit $?' private-world "$@"
