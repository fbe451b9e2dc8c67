#!/usr/bin/env bash
# Checks every part of the running demo store, and prints what it measured.
# Ends with the number of checks that passed and failed; non-zero when one did.
source "$(dirname "$0")/lib.sh"
connect
shop
passed=0 failed=0

# check NAME COMMAND...: the command prints what it measured, and fails when it is wrong.
check() {
	local name=$1 out
	shift
	if out=$("$@" 2>&1); then
		passed=$((passed + 1))
		printf 'ok    %-42s %s\n' "$name" "$out"
	else
		failed=$((failed + 1))
		printf 'FAIL  %-42s %s\n' "$name" "$out"
	fi
}

status() { "$kubectl" -n "$namespace" get store "$store" -o "jsonpath=$1"; }
condition() {
	local is
	is=$(status "{.status.conditions[?(@.type==\"$1\")].status} {.status.conditions[?(@.type==\"$1\")].message}")
	echo "${is#* }"
	[ "${is%% *}" = True ]
}
valid() {
	"$kubectl" apply --server-side --force-conflicts --dry-run=server -f config/samples/store-demo.yaml >/dev/null && echo "the API server accepts the sample"
}
observed() {
	local generation observed
	generation=$(status '{.metadata.generation}')
	observed=$(status '{.status.observedGeneration}')
	echo "generation $generation, observed $observed"
	[ "$generation" = "$observed" ]
}
version() {
	local v
	v=$(status "{.status.$1.version}")
	echo "version $v"
	[ -n "$v" ]
}
pods() {
	local is ready desired
	is=$(status "{.status.$1.readyReplicas}/{.status.$1.desiredReplicas}")
	ready=${is%/*} desired=${is#*/}
	echo "$is ready"
	[ "$ready" = "$desired" ] && [ "$desired" -gt 0 ]
}
certificate() {
	local end left
	end=$(status '{.status.certificate.notAfter}')
	left=$((($(date -d "$end" +%s) - $(date +%s)) / 86400))
	echo "expires $end, in $left days; renewed at $(status '{.status.certificate.renewalTime}')"
	[ "$left" -gt 0 ]
}
https() {
	local is
	is=$(call -o /dev/null -w 'HTTP/%{http_version} %{http_code} in %{time_total} s, TLS verified: %{ssl_verify_result}' "$url/api/health")
	echo "$is"
	[[ $is == HTTP/2\ 200\ *verified:\ 0 ]]
}
tls12() {
	if call --tls-max 1.2 -o /dev/null "$url/api/health" 2>/dev/null; then
		echo "TLS 1.2 is spoken"
		return 1
	fi
	echo "TLS 1.2 is refused"
}
header() {
	local value
	value=$(call -I "$url/api/health" | tr -d '\r' | awk -v h="$1" 'BEGIN {FS=": "} tolower($1) == tolower(h) {print $2}')
	echo "$value"
	[ "$value" = "$2" ]
}
stored() {
	local is
	is=$(call -o /dev/null -w '%{http_code} in %{time_total} s' "$url/api/v1/products/espresso-cup")
	echo "GET espresso-cup: $is"
	[[ $is == 200* ]]
}
closed() {
	local is
	is=$(call -o /dev/null -w '%{http_code}' -X POST "$url/api/v1/products" -H 'Content-Type: application/json' -H 'Idempotency-Key: nobody' -d @hack/demo/product.json)
	echo "POST without a key: $is"
	[ "$is" = 401 ]
}
found() {
	local n
	n=$(call "$url/api/v1/products?q=espr" | grep -o '"slug":"espresso-cup"' | wc -l)
	echo "search for espr finds $n"
	[ "$n" = 1 ]
}
restarts() {
	local n
	n=$("$kubectl" -n gocart-system get pods -l app.kubernetes.io/name=gocart-operator -o 'jsonpath={range .items[*]}{.status.containerStatuses[0].restartCount}{"\n"}{end}' | awk '{n += $1} END {print n + 0}')
	echo "$n restarts"
	[ "$n" = 0 ]
}

check "configuration is valid" valid
check "spec was reconciled" observed
for c in DatabaseReady RedisReady MigrationSucceeded CertificateReady WorkloadsAvailable RouteReady Ready; do
	check "condition $c" condition "$c"
done
check "PostgreSQL" version database
check "Redis" version redis
check "api pods" pods api
check "worker pods" pods worker
check "operator" restarts
check "certificate" certificate
check "HTTPS" https
check "old TLS" tls12
check "HSTS" header Strict-Transport-Security "max-age=31536000; includeSubDomains"
check "Content-Security-Policy" header Content-Security-Policy "default-src 'self'"
check "X-Frame-Options" header X-Frame-Options DENY
check "X-Content-Type-Options" header X-Content-Type-Options nosniff
check "Referrer-Policy" header Referrer-Policy strict-origin-when-cross-origin
check "stored product" stored
check "search" found
check "writing needs a key" closed
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
