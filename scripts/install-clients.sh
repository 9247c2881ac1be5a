#!/bin/sh
# Builds and installs the programs of others that test/e2e/clients/, test/e2e/cni-runtimes.test.ts, test/cluster/shipping.test.ts
# and test/conformance/policy-oracle.test.ts run, in a directory outside of the project, and prints the environment variables by
# which the tests find them, as NAME=VALUE. What is there already is kept. Needs Go 1.26, npm and Python 3, and takes ten minutes
# at first.
#   scripts/install-clients.sh DIRECTORY > clients.env
set -eu
[ $# = 1 ] || { echo 'usage: scripts/install-clients.sh DIRECTORY' >&2; exit 2; }
mkdir -p "$1"
directory=$(cd "$1" && pwd)
project=$(cd "$(dirname "$0")/.." && pwd)
export GOBIN="$directory/go" CGO_ENABLED=0
build='-ldflags=-s -w'

note() { echo "$*" >&2; }

# A command published as a Go module: VARIABLE PROGRAM PACKAGE@VERSION
command_of() {
  if [ ! -x "$directory/$2" ]; then
    note "Building $3"
    go install "$build" "$3" >&2
    mv "$GOBIN/$(basename "${3%@*}")" "$directory/$2"
  fi
  echo "$1=$directory/$2"
}

# A program of ours that uses a Go module: VARIABLE FOLDER MODULE@VERSION, the folder in test/
program_of() {
  note "Building $2"
  name=$(basename "$2")
  source="$directory/source/$name"
  mkdir -p "$source"
  cp "$project/test/$2/main.go" "$source"
  (
    cd "$source"
    if [ ! -e go.mod ]; then
      go mod init client
      go get "$3"
      go mod tidy
    fi
    go build "$build" -o "$directory/$name" .
  ) >&2
  echo "$1=$directory/$name"
}

command_of HELM3 helm-3 helm.sh/helm/v3/cmd/helm@v3.22.0
command_of HELM4 helm-4 helm.sh/helm/v4/cmd/helm@v4.3.1
command_of CNITOOL cnitool github.com/containernetworking/cni/cnitool@v1.3.0
command_of CRICTL crictl sigs.k8s.io/cri-tools/cmd/crictl@v1.34.0
command_of STERN stern github.com/stern/stern@v1.33.0
command_of K9S k9s github.com/derailed/k9s@v0.50.16
program_of CLIENT_GO e2e/clients/client-go k8s.io/client-go@v0.37.2
program_of CONTROLLER_RUNTIME e2e/clients/controller-runtime sigs.k8s.io/controller-runtime@v0.25.2
program_of POLICY_ORACLE conformance/policy-oracle github.com/mattfenwick/cyclonus@v0.5.6

if [ ! -x "$directory/python/bin/python" ]; then
  note 'Installing the Python client'
  python3 -m venv "$directory/python"
  "$directory/python/bin/pip" install --quiet kubernetes==37.0.2 >&2
fi
echo "PYTHON_CLIENT=$directory/python/bin/python"

if [ ! -d "$directory/node_modules/@kubernetes/client-node" ]; then
  note 'Installing @kubernetes/client-node'
  npm install --prefix "$directory" --no-audit --no-fund --loglevel=error @kubernetes/client-node@1.4.0 >&2
fi
echo "CLIENT_NODE=$directory"
