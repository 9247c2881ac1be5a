#!/bin/sh
# Builds the programs of a Kubernetes control plane for the tests in test/cluster, from the Go module proxy: etcd,
# kube-apiserver, kube-controller-manager, kube-scheduler, kube-proxy, kubelet, CoreDNS; and prints the environment variables by which the tests find
# them, as NAME=VALUE. The sources stay below DIRECTORY/src. Needs Go 1.24 or later, and twenty minutes on two cores.
#   scripts/install-control-plane.sh DIRECTORY > control-plane.env
set -eu
[ $# = 1 ] || { echo 'usage: scripts/install-control-plane.sh DIRECTORY' >&2; exit 2; }
bin=$(mkdir -p "$1" && cd "$1" && pwd)
kubernetes=1.34.4
etcd=3.6.5
coredns=1.12.4
export CGO_ENABLED=0 GOFLAGS=-mod=mod

mkdir -p "$bin/src/etcd"
cd "$bin/src/etcd"
cat > main.go <<'GO'
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
GO
[ -f go.mod ] || go mod init etcd
go get "go.etcd.io/etcd/server/v3@v$etcd"
go build -ldflags '-s -w' -o "$bin/etcd" .

# The module k8s.io/kubernetes refers to the libraries that it publishes by local paths, which the proxy does not have: here
# they are the published ones of the same release.
if [ ! -d "$bin/src/kubernetes" ]; then
  mkdir -p "$bin/src/download"
  cd "$bin/src/download"
  [ -f go.mod ] || go mod init download
  dir=$(go mod download -json "k8s.io/kubernetes@v$kubernetes" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
  cp -r "$dir" "$bin/src/kubernetes"
  chmod -R u+w "$bin/src/kubernetes"
  cd "$bin/src/kubernetes"
  rm -rf go.work go.work.sum vendor
  sed -i -e "s#^\(\tk8s.io/[a-z-]*\) v0\.0\.0\$#\1 v0.${kubernetes#1.}#" -e '/^replace (/,/^)/d' -e '/^replace /d' go.mod
fi
cd "$bin/src/kubernetes"
version=k8s.io/component-base/version
for program in kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet; do
  go build -ldflags "-s -w -X $version.gitVersion=v$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=34" \
    -o "$bin/$program" "./cmd/$program"
done

cd "$bin"
GOBIN="$bin" GOFLAGS='' go install -ldflags '-s -w' "github.com/coredns/coredns@v$coredns"

cat <<END
ETCD=$bin/etcd
KUBE_APISERVER=$bin/kube-apiserver
KUBE_CONTROLLER_MANAGER=$bin/kube-controller-manager
KUBE_SCHEDULER=$bin/kube-scheduler
KUBE_PROXY=$bin/kube-proxy
KUBELET=$bin/kubelet
COREDNS=$bin/coredns
END
