#!/bin/sh
# Removes what make.sh created; devices are removed with their namespaces.
set -eu
for path in /run/netns/dpx-*; do
  [ -e "$path" ] || continue
  ip netns delete "${path##*/}"
done
