#!/bin/sh
# npm run demo: from nothing to a page fetched five ways through the data plane. The cluster stays up afterwards.
set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin
NODE_PORT=31418
EXPECTED='Hello world!'

fail() { echo "demo: $1" >&2; exit 1; }

[ "$(id -u)" = 0 ] || fail 'network namespaces and devices need root: run `sudo npm run demo`'
sh scripts/install.sh demo
echo 'Building'
npm run --silent build
sh scripts/link.sh
dataplane() { node dist/bundle/cli/main.js "$@"; }

# Remove only a cluster of an earlier demo, no other.
if [ -e /run/dataplane/cluster.json ]; then
  grep -q '"label": *"demo"' /run/dataplane/cluster.json ||
    fail 'another cluster is up: `dataplane down` removes it'
  echo 'Removing the cluster of an earlier demo'
  dataplane down >/dev/null
fi

echo 'Bringing up two nodes with the mc3 demo'
dataplane up --nodes 2 --port-policy declared --label demo -f demo/
dataplane expose pod mc3 --type NodePort --port 80 --node-port $NODE_PORT
cluster_ip=$(dataplane get service mc3 -o json | node -p 'JSON.parse(require("fs").readFileSync(0)).spec.clusterIP')
echo
dataplane get pods,services -o wide
echo

# A newly exposed service takes a moment to reach all nodes: retry a refused connection for at most five seconds.
fetch() {
  netns=$1; url=$2; who=$3
  tries=0
  until page=$(ip netns exec "$netns" curl -sS --max-time 3 "$url" 2>&1); do
    tries=$((tries + 1))
    [ $tries -lt 50 ] || break
    sleep 0.1
  done
  printf '%-46s %-32s %s\n' "$who" "$url" "$page"
  [ "$page" = "$EXPECTED" ] || failed=1
}

failed=
fetch dp-outside "http://172.18.0.11:$NODE_PORT/" 'outside, through node n1'
fetch dp-outside "http://172.18.0.12:$NODE_PORT/" 'outside, through node n2'
fetch dp-node-n1 "http://172.18.0.11:$NODE_PORT/" 'node n1, through its own address'
fetch dp-node-n1 "http://127.0.0.1:$NODE_PORT/" 'node n1, through its loopback'
fetch dp-pod-default-client "http://$cluster_ip/" 'pod on the other node, through the ClusterIP'
echo
[ -z "$failed" ] || fail "not every request returned \`$EXPECTED\`; the cluster is still up: see \`dataplane status\`"

cat <<'END'
All five requests returned `Hello world!`. The cluster is still up. Try:
  sudo dataplane trace pod/client --to svc/mc3:80
  sudo dataplane get pods -o wide
  sudo dataplane conntrack -p tcp
  sudo ip netns exec dp-outside curl http://172.18.0.11:31418/
  sudo dataplane down
END
