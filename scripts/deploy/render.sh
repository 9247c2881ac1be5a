#!/bin/sh
# Writes the kustomize base from the chart. The program helm is named by HELM (default: helm).
#   scripts/deploy/render.sh [DIRECTORY]
set -eu
to=$(mkdir -p "${1:-$(dirname "$0")/kustomize}" && cd "${1:-$(dirname "$0")/kustomize}" && pwd)
cd "$(dirname "$0")"
for part in rbac config agent; do
  text=$("${HELM:-helm}" template dataplane chart --namespace kube-system --kube-version 1.29.0 --set apiServer.host=API-SERVER \
    -s "templates/$part.yaml")
  printf '%s\n' "$text" | sed -e 1d -e '/^# Source: /d' > "$to/$part.yaml"
done
