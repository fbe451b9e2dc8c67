# Shared by the demonstrations: where the demo store is and how to talk to it.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
store=demo
namespace=shop
folder=dist/demo
# The namespace that the demo made, and so may delete, has this label.
mark=commerce.rcommerce.app/demo=true

# connect sets backend, KUBECONFIG and kubectl, or says that there is no cluster.
connect() {
	go run ./hack/build apt curl=curl
	backend=$(go run ./hack/cluster backend)
	KUBECONFIG=$(go run ./hack/cluster kubeconfig)
	export KUBECONFIG
	kubectl=$(go run ./hack/build tool kubectl)
	"$kubectl" get --raw /readyz >/dev/null 2>&1 || {
		echo "there is no cluster that answers: run make demo" >&2
		exit 1
	}
}

# address prints host:port of the store's Service as this machine reaches it.
address() {
	local ip
	ip=$("$kubectl" -n "$namespace" get service "$store-api" -o 'jsonpath={.spec.clusterIP}')
	if timeout 3 bash -c ": >/dev/tcp/$ip/443" 2>/dev/null; then
		echo "443:$ip"
		return
	fi
	# No route to Services, as with kind: through a forwarded port. It ends with
	# the pod that it leads to.
	if ! forwarded; then
		unforward
		nohup "$kubectl" -n "$namespace" port-forward "service/$store-api" 8443:443 >"$folder/forward.log" 2>&1 &
		echo $! >"$folder/forward.pid"
		local deadline=$((SECONDS + 20))
		until forwarded; do
			if [ "$SECONDS" -ge "$deadline" ]; then
				echo "the store does not answer through the forwarded port 8443; see $folder/forward.log" >&2
				return 1
			fi
			sleep 0.2
		done
	fi
	echo "8443:127.0.0.1"
}

forwarded() {
	[ -e "$folder/forward.pid" ] && kill -0 "$(cat "$folder/forward.pid")" 2>/dev/null &&
		curl --insecure --silent --max-time 3 --output /dev/null --resolve "$host:8443:127.0.0.1" "https://$host:8443/api/health"
}

unforward() {
	[ -e "$folder/forward.pid" ] || return 0
	kill "$(cat "$folder/forward.pid")" 2>/dev/null || true
	rm -f "$folder/forward.pid"
}

# shop sets host, url, resolve, ca and key. Without ca, the system's CAs count.
shop() {
	mkdir -p "$folder"
	local at port
	host=$("$kubectl" -n "$namespace" get store "$store" -o 'jsonpath={.spec.domains[0]}')
	at=$(address)
	port=${at%%:*}
	url=https://$host
	[ "$port" = 443 ] || url=$url:$port
	resolve=$host:$at
	ca=
	if [ "$backend" != current ]; then
		ca=$PWD/$folder/ca.pem
		go run ./hack/addons acme-ca >"$ca"
	fi
	key=$("$kubectl" -n "$namespace" get secret "$store-credentials" -o 'jsonpath={.data.adminKey}' | base64 -d)
}

# call is curl with the store's address, CA and certificate check.
# It waits for its turn where the store says that it asks too often.
call() { curl --retry 2 --retry-max-time 150 --silent --show-error --max-time 20 ${ca:+--cacert "$ca"} --resolve "$resolve" "$@"; }

# expect NAME WANT GOT prints whether a figure is what it should be, and counts in failed those that are not.
failed=0
expect() {
	if [ "$2" = "$3" ]; then
		printf 'ok    %-46s %s\n' "$1" "$3"
	else
		printf 'FAIL  %-46s %s, not %s\n' "$1" "$3" "$2"
		failed=$((failed + 1))
	fi
}

# hear TEXT reads lines of the descriptor $heard until one has the text, and keeps that as $message.
hear() {
	while read -r -t 20 -u "$heard" message; do
		[[ $message == *"$1"* ]] && return
	done
	echo "the store does not tell of $1; it told: $message" >&2
	exit 1
}
