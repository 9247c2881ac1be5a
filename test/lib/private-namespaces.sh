#!/bin/sh
# Runs a command in private mount, network and PID namespaces, with its own /run and /dev/shm. It neither sees nor
# affects a cluster on this machine, and nothing of it is left when it ends, however it ends.
# test/lib/private-namespaces.sh COMMAND…
set -eu
# Not the images that the user of this machine has loaded.
export DATAPLANE_IMAGES=/run/dataplane-images
exec unshare --mount --net --pid --fork --kill-child --mount-proc sh -eu -c '
  mount --make-rprivate /
  mount -t tmpfs tmpfs /run
  mkdir -p /run/netns /run/lock
  mount -t tmpfs tmpfs /dev/shm
  ip link set lo up
  # Not exec: process 1 must reap orphans, as the shell does.
  "$@" && exit 0 || exit $?' private-namespaces "$@"
