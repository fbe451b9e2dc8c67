#!/usr/bin/env bash
# Removes the demo store and the operator; the cluster too, if it is ours.
source "$(dirname "$0")/lib.sh"
if [ -e "$folder/forward.pid" ]; then
	kill "$(cat "$folder/forward.pid")" 2>/dev/null || true
	rm -f "$folder/forward.pid"
fi
if [ "${CLUSTER:-}" = current ]; then
	connect
	"$kubectl" delete -f config/samples/store-demo.yaml --ignore-not-found
	"$(go run ./hack/build tool helm)" uninstall gocart-operator --namespace gocart-system --ignore-not-found --wait
else
	go run ./hack/cluster down
fi
rm -rf "$folder"
