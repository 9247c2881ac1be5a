#!/bin/sh
# Shows what make.sh created, per namespace: addresses, routes, and the overlay's tables.
set -eu
found=
for path in /run/netns/dpx-*; do
  [ -e "$path" ] || continue
  found=1
  netns=${path##*/}
  echo "== $netns"
  ip -n "$netns" -brief address
  ip -n "$netns" route
  bridge -n "$netns" fdb show dev flannel.1 2>/dev/null | grep dst || true
  echo
done
[ -n "$found" ] || { echo 'there is no such network: create it with netns-scripts/make.sh' >&2; exit 1; }
