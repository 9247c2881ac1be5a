#!/bin/sh
# npm test: installs what is missing, builds, runs every test. The last line is `N passed, N failed`.
set -eu
cd "$(dirname "$0")/.."
sh scripts/install.sh test
npm run --silent build
if [ "$(id -u)" = 0 ]; then sh scripts/link.sh; fi
exec node dist/test/run.js "$@"
