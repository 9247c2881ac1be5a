#!/bin/sh
# Makes `dataplane` work from any directory, as root and with sudo: a launcher that runs this checkout with the node
# that is in PATH now. `npm link` does not suffice: it links a file that begins with `#!/usr/bin/env node`, and the node
# of nvm or actions/setup-node is not in the PATH that sudo sets.
#   scripts/link.sh [FILE]    default /usr/local/bin/dataplane
set -eu
cd "$(dirname "$0")/.."
launcher=${1:-/usr/local/bin/dataplane}
main=$(pwd)/dist/bundle/cli/main.js
mark='# Written by scripts/link.sh of dataplane.'

quoted() { printf "'"; printf '%s' "$1" | sed "s/'/'\\\\''/g"; printf "'"; }
node=$(node -p process.execPath)
text=$(printf '#!/bin/sh\n%s\nexec %s %s "$@"' "$mark" "$(quoted "$node")" "$(quoted "$main")")

[ -f "$launcher" ] && [ ! -L "$launcher" ] && [ "$(cat "$launcher")" = "$text" ] && exit 0
# A symbolic link is from npm; any other file was not written by this script.
if [ -e "$launcher" ] && [ ! -L "$launcher" ] && ! grep -qxF "$mark" "$launcher"; then
  echo "$launcher exists and was not written by this script, so it was kept: use node $main instead of dataplane" >&2
  exit 0
fi
# Installed by a rename, so that a concurrent start gets either the old file or the new one.
if mkdir -p "$(dirname "$launcher")" 2>/dev/null && (umask 022 && printf '%s\n' "$text" > "$launcher.$$") 2>/dev/null &&
  chmod 755 "$launcher.$$" && mv -f "$launcher.$$" "$launcher"; then
  echo "Installed $launcher: \`sudo dataplane …\` works from any directory."
else
  rm -f "$launcher.$$"
  echo "$launcher could not be written: use node $main instead of dataplane" >&2
fi
