# Shared by the demonstrations: where the demo store is and how to talk to it.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
store=demo
namespace=shop
host=demo.shop.test
folder=dist/demo

# connect sets KUBECONFIG and kubectl, or says that there is no cluster.
connect() {
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
	# No route to Services, as with kind: through a forwarded port.
	if ! { [ -e "$folder/forward.pid" ] && kill -0 "$(cat "$folder/forward.pid")" 2>/dev/null; }; then
		nohup "$kubectl" -n "$namespace" port-forward "service/$store-api" 8443:443 >"$folder/forward.log" 2>&1 &
		echo $! >"$folder/forward.pid"
	fi
	timeout 20 bash -c 'until : >/dev/tcp/127.0.0.1/8443; do read -rt 0.2 <> <(:) || :; done' 2>/dev/null
	echo "8443:127.0.0.1"
}

# shop sets url, resolve, ca and key.
shop() {
	mkdir -p "$folder"
	local at port
	at=$(address)
	port=${at%%:*}
	url=https://$host
	[ "$port" = 443 ] || url=$url:$port
	resolve=$host:$at
	ca=$PWD/$folder/ca.pem
	go run ./hack/addons acme-ca >"$ca"
	key=$("$kubectl" -n "$namespace" get secret "$store-credentials" -o 'jsonpath={.data.adminKey}' | base64 -d)
}

# call is curl with the store's address, CA and certificate check.
call() { curl --silent --show-error --max-time 20 --cacert "$ca" --resolve "$resolve" "$@"; }
