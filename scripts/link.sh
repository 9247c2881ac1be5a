#!/bin/sh
# Makes `dataplane` work from any directory, as root and with sudo: the package's bin, linked with `npm link`.
set -eu
cd "$(dirname "$0")/.."
main=$(pwd)/dist/src/cli/main.js

linked() {
  at=$(command -v dataplane) && [ "$(readlink -f "$at")" = "$(readlink -f "$main")" ]
}

linked && exit 0
npm link --no-audit --no-fund --loglevel=error >/dev/null 2>&1 || true
# npm's own directory for programs may not be on root's path.
linked || { mkdir -p /usr/local/bin && ln -sfn "$main" /usr/local/bin/dataplane; } || {
  echo "dataplane could not be linked (npm link): use node $main instead" >&2
  exit 0
}
hash -r 2>/dev/null || true
echo 'Linked by `npm link`: `sudo dataplane …` works from any directory.'
