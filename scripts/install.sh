#!/bin/sh
# Installs missing programs; does nothing if all are installed (so it also works offline then).
#   scripts/install.sh demo    programs for the demo, npm packages
#   scripts/install.sh test    the same, and the programs of the tests
set -eu
cd "$(dirname "$0")/.."
. scripts/packages.sh

case "${1:-}" in
  demo) programs=$demo_programs ;;
  test) programs=$test_programs ;;
  *) echo 'usage: scripts/install.sh demo|test' >&2; exit 2 ;;
esac

fail() { echo "$1" >&2; exit 1; }

command -v node >/dev/null || fail 'node is missing: install Node 20 or later (https://nodejs.org)'
node -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 20 ? 0 : 1)' ||
  fail "node $(node --version) is too old: install Node 20 or later (https://nodejs.org)"

PATH=$PATH:/usr/sbin:/sbin
missing=
for pair in $programs; do
  program=${pair%%:*}
  package=${pair#*:}
  command -v "$program" >/dev/null && continue
  case " $missing " in *" $package "*) ;; *) missing="$missing $package" ;; esac
done

if [ -n "$missing" ]; then
  echo "Installing by apt:$missing"
  [ "$(id -u)" = 0 ] || fail "installing packages needs root: run it with sudo, or \`apt install$missing\` yourself"
  command -v apt-get >/dev/null || fail "apt is not available: install$missing yourself"
  # Do not start a package's own service (nginx) on this machine.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod +x "$policy"
  fi
  export DEBIAN_FRONTEND=noninteractive
  # shellcheck disable=SC2086
  if ! apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1; then
    apt-get update -qq
    # shellcheck disable=SC2086
    apt-get install -y -qq --no-install-recommends $missing >/dev/null || fail "apt could not install$missing"
  fi
  if [ -e "$policy" ] && grep -q '^exit 101$' "$policy"; then rm -f "$policy"; trap - EXIT; fi
fi

# npm writes node_modules/.package-lock.json when it is done.
if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  echo 'Installing npm packages'
  # If npm ci cannot use the lock file, npm install does not change it.
  npm ci --no-audit --no-fund --loglevel=error >/dev/null 2>&1 ||
    npm install --no-save --no-audit --no-fund --loglevel=error ||
    fail 'npm could not install the packages: check the network connection'
  touch node_modules/.package-lock.json
fi
