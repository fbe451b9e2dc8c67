#!/usr/bin/env bash
# Prints where the demo store is, as shell lines to eval.
source "$(dirname "$0")/lib.sh"
connect
shop
printf 'export KUBECONFIG=%q\nexport GOCART_URL=%q\nexport GOCART_RESOLVE=%q\nexport GOCART_ADMIN_KEY=%q\n' \
	"$KUBECONFIG" "$url" "$resolve" "$key"
# Without one, the system's CAs are those to trust.
[ -z "$ca" ] || printf 'export GOCART_CA=%q\n' "$ca"
