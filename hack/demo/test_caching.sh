#!/usr/bin/env bash
# Shows the running demo store's cache: the first to ask for a product has it read
# from the database, the next are answered by what is kept, a write is seen at
# once by whoever asks the replica that wrote, and on every replica within two
# seconds. Prints how long each takes, the hit rate of all pods by their own
# metrics, and what the cache spares. Ends non-zero when a figure is not what it should be.
source "$(dirname "$0")/lib.sh"
go run ./hack/build apt jq=jq
connect
shop
reads=40
work=$(mktemp -d)
run=$(date +%s)
printf 'header = "Authorization: Bearer %s"\n' "$key" >"$work/key"
api() { call --fail --config "$work/key" "$@"; }
product=$url/api/v1/products/cache-demo-$run
trap 'api -X DELETE -o /dev/null "$product" || true; rm -rf "$work"' EXIT

# body TITLE
body() {
	jq -cn --arg title "$1" --arg slug "cache-demo-$run" --arg sku "CACHE-DEMO-$run" \
		'{title: $title, slug: $slug, type: "simple", status: "active", description: ("Told often. " * 100), variants: [{sku: $sku, prices: [{amount: "1.00", currency: "EUR"}]}]}'
}

# times N [CURL OPTION...] asks for the product over one connection, and prints how many microseconds each answer took after the first.
times() {
	local n=$1 urls=()
	shift
	for _ in $(seq $((n + 1))); do urls+=(-o /dev/null "$product"); done
	call --fail -w '%{time_starttransfer}\n' "$@" "${urls[@]}" | tail -n "$n" | awk '{printf "%.0f\n", $1 * 1000000}'
}

median() { sort -n | awk '{a[NR] = $1} END {print a[int((NR + 1) / 2)]}'; }

# lookups prints "HITS ALL" of the memory of all pods of the API.
lookups() {
	local pod port pid
	for pod in $("$kubectl" -n "$namespace" get pods -l "app.kubernetes.io/instance=$store,app.kubernetes.io/component=api" -o name); do
		"$kubectl" -n "$namespace" port-forward "$pod" :9090 >"$work/forward" 2>&1 &
		pid=$!
		port=
		for _ in $(seq 50); do
			port=$(sed -n 's/^Forwarding from 127.0.0.1:\([0-9]*\) .*/\1/p' "$work/forward")
			[ -n "$port" ] && break
			sleep 0.1
		done
		curl --silent --max-time 10 "http://127.0.0.1:$port/metrics"
		kill "$pid" && wait "$pid" 2>/dev/null || true
	done | awk '/^gocart_cache_lookups_total{layer="memory"/ {all += $2} /layer="memory",result="(hit|renew)"/ {hits += $2} END {print hits + 0, all + 0}'
}

expect "not there yet" 404 "$(call -o /dev/null -w '%{http_code}' "$product")"
api -o /dev/null -H 'Content-Type: application/json' -d "$(body 'Before')" "$url/api/v1/products"
read -r hits all < <(lookups)
miss=$(call --fail -o "$work/first" -w '%{time_starttransfer} %{time_pretransfer}\n' "$product" | awk '{printf "%.0f", ($1 - $2) * 1000000}')
expect "there as soon as it is written" Before "$(jq -r .title "$work/first")"
hit=$(times $reads --compressed | median)
read -r hits2 all2 < <(lookups)
uncached=$(times $reads --config "$work/key" | median)
rate=$(awk -v h=$((hits2 - hits)) -v a=$((all2 - all)) 'BEGIN {printf "%.0f", a ? 100 * h / a : 0}')

echo "miss:     $miss us, the first answer"
echo "hit:      $hit us, the median of $reads"
echo "uncached: $uncached us, the median of $reads as staff, who are always told what is so now"
echo "hit rate: $rate% of $((all2 - all)) lookups"
echo "improvement: $(awk -v u="$uncached" -v h="$hit" 'BEGIN {printf "%.1f", u / h}') times as quick, over TLS and the network"
# Each pod misses once, or hears of it from Redis.
expect "hit rate of 80% or more" yes "$([ "$rate" -ge 80 ] && echo yes || echo no)"

etag=$(call --fail -o /dev/null -D - "$product" | tr -d '\r' | awk 'tolower($1) == "etag:" {print $2}')
expect "who has it is told so" 304 "$(call -o /dev/null -w '%{http_code}' -H "If-None-Match: $etag" "$product")"
expect "compressed where that is asked for" br "$(call -o /dev/null -D - -H 'Accept-Encoding: br' "$product" | tr -d '\r' | awk 'tolower($1) == "content-encoding:" {print $2}')"
api -X PUT -o /dev/null -H 'Content-Type: application/json' -d "$(body 'After')" "$product"
sleep 2
seen=$(for _ in $(seq 6); do call --fail "$product" | jq -r .title; done | sort -u | paste -sd' ')
expect "two seconds after a write, on every replica" After "$seen"
[ "$failed" = 0 ]
