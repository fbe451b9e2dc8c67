#!/usr/bin/env bash
# Prints a folder that holds kube-apiserver, etcd and kubectl, as tests of the API want it.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=dist/assets
mkdir -p "$folder"
for program in $(go run ./hack/build tool kube-apiserver etcd kubectl); do
	ln -sf "$program" "$folder/"
done
echo "$PWD/$folder"
