#!/usr/bin/env bash
# Removes the demo store and the operator; the cluster too, if it is ours.
source "$(dirname "$0")/lib.sh"
unforward
if [ "$(go run ./hack/cluster backend)" = current ]; then
	connect
	if [ -n "$("$kubectl" get namespaces --selector "$mark" -o name)" ]; then
		"$kubectl" -n "$namespace" delete stores --all
		"$kubectl" delete namespaces --selector "$mark"
	fi
	if [ -n "$("$kubectl" get stores --all-namespaces -o name 2>/dev/null)" ]; then
		echo "the operator stays: this cluster has other Stores" >&2
	else
		"$(go run ./hack/build tool helm)" uninstall gocart-operator --namespace gocart-system --ignore-not-found --wait
		echo "the CustomResourceDefinitions and the namespace gocart-system stay; docs/deployment/install.md says how to remove them" >&2
	fi
else
	go run ./hack/cluster down
fi
rm -rf "$folder"
