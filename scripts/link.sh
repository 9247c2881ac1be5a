#!/bin/sh
# Makes `dataplane` work from any directory, as root and with sudo: a launcher that runs this checkout with the node that
# is on the path now. `npm link` would not do: it links a file that begins with `#!/usr/bin/env node`, and the node of
# nvm or of actions/setup-node is not on the path that sudo gives to a program.
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
# A symbolic link was left by npm; any other file is not ours.
if [ -e "$launcher" ] && [ ! -L "$launcher" ] && ! grep -qxF "$mark" "$launcher"; then
  echo "$launcher is not ours and was left alone: use node $main instead of dataplane" >&2
  exit 0
fi
# Installed by one rename, so that a start meanwhile gets the old file or the new one.
if mkdir -p "$(dirname "$launcher")" 2>/dev/null && (umask 022 && printf '%s\n' "$text" > "$launcher.$$") 2>/dev/null &&
  chmod 755 "$launcher.$$" && mv -f "$launcher.$$" "$launcher"; then
  echo "Linked as $launcher: \`sudo dataplane …\` works from any directory."
else
  rm -f "$launcher.$$"
  echo "$launcher could not be written: use node $main instead of dataplane" >&2
fi
