#!/bin/sh
# Takes away what make.sh made; devices go with their namespaces.
set -eu
for path in /run/netns/dpx-*; do
  [ -e "$path" ] || continue
  ip netns delete "${path##*/}"
done
