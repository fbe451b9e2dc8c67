#!/usr/bin/env bash
# Checks every part of the running demo store, and prints what it measured.
# Ends with the number of checks that passed and failed; non-zero when one did.
source "$(dirname "$0")/lib.sh"
go run ./hack/build apt jq=jq
connect
shop
passed=0 failed=0
shopt -s inherit_errexit
# What one check learns and the next needs is in files here.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf 'header = "Authorization: Bearer %s"\n' "$key" >"$work/admin"
touch "$work/nobody"
run=$(date +%s)-$$

# check NAME COMMAND...: the command prints what it measured, and fails when it is wrong.
check() {
	local name=$1 out status
	shift
	set +e # here alone, for what is below if knows no -e
	out=$(
		set -e
		"$@" 2>&1
	)
	status=$?
	set -e
	if [ "$status" = 0 ]; then
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
operator() {
	"$kubectl" -n gocart-system get pods -l app.kubernetes.io/name=gocart-operator -o 'jsonpath={range .items[*]}{.status.containerStatuses[0].ready}{" "}{.status.containerStatuses[0].restartCount}{"\n"}{end}' |
		awk '$1 == "true" {ready++} {n += $2} END {print ready + 0 "/" NR " ready, " n + 0 " restarts"; exit NR == 0 || ready < NR}'
}

# api WHO METHOD PATH STATUS [BODY [CURL OPTION...]] prints the answer, or what is wrong with it. WHO is a file of curl options.
api() {
	local who=$work/$1 method=$2 path=$3 want=$4 body=${5:-} got
	shift $(($# < 5 ? $# : 5))
	got=$(call --config "$who" -X "$method" "$url/api/v1$path" -o "$work/answer" -w '%{http_code}' -D "$work/headers" \
		${body:+-H 'Content-Type: application/json' --data "$body"} "$@")
	if [[ ! $got =~ ^($want)$ ]]; then
		echo "$method $path: $got, not $want: $(cat "$work/answer")" >&2
		return 1
	fi
	cat "$work/answer"
}

# ensure PATH LIST NAME BODY makes what is not there yet, and prints its id.
ensure() {
	local id
	id=$(api admin GET "$1" 200 | jq -r --arg name "$3" "first(.$2[] | select((.code // .name) == \$name) | .id) // empty")
	[ -n "$id" ] || id=$(api admin POST "$1" 201 "$4" | jq -r .id)
	echo "$id"
}

# stock SKU N makes N available at the first location.
stock() {
	local location reserved
	location=$(api admin GET /locations 200 | jq -r '.locations[0].id')
	reserved=$(api admin GET "/inventory?sku=$1&locationId=$location" 200 | jq '[.levels[].reserved] | add // 0')
	api admin POST /inventory/adjustments 201 \
		"{\"reason\": \"count\", \"changes\": [{\"sku\": \"$1\", \"locationId\": \"$location\", \"quantity\": $((reserved + $2))}]}" |
		jq -e --argjson n "$2" '.levels[0].available == $n' >/dev/null
}

variant() { api nobody GET "/products/$1?include=stock" 200 | jq -r '.variants[0].id'; }
available() { api nobody GET "/products/$1?include=stock" 200 | jq '[.stock[].available] | add'; }

prepared() {
	local zone
	zone=$(ensure /zones zones "Demo world" '{"name": "Demo world", "areas": ["*"]}')
	ensure /tax-rates taxRates "Demo VAT" "{\"name\": \"Demo VAT\", \"zoneId\": \"$zone\", \"percent\": \"19\"}" >/dev/null
	ensure /shipping-methods shippingMethods "Demo parcel" \
		"{\"name\": \"Demo parcel\", \"zoneId\": \"$zone\", \"prices\": [{\"price\": {\"amount\": \"4.90\", \"currency\": \"EUR\"}}]}" >"$work/parcel"
	ensure /promotions promotions DEMO10 '{"title": "Ten percent", "code": "DEMO10", "kind": "percentage", "percent": "10"}' >/dev/null
	api admin POST /products '20[01]|409' "$(jq '.title = "Last cup" | .slug = "last-cup" | .variants[0].sku = "CUP-LAST"' hack/demo/product.json)" >/dev/null
	stock CUP-ESP-80 20
	stock CUP-LAST 1
	echo "tax, shipping, a coupon, 20 cups and one last cup"
}
registered() {
	echo "{\"email\": \"demo-$run@example.com\", \"password\": \"correct horse battery\"}" >"$work/account"
	api nobody POST /auth/register 202 "$(cat "$work/account")" | jq -r .message
}
logged_in() {
	local answer
	answer=$(api nobody POST /auth/login 200 "$(cat "$work/account")")
	printf 'header = "Authorization: Bearer %s"\n' "$(jq -r .accessToken <<<"$answer")" >"$work/customer"
	api customer GET /me 200 | jq -r '.email + ", " + .role'
}
browsed() {
	local answer
	answer=$(api nobody GET '/products?q=espr&include=stock' 200)
	jq -er '.products[0] | "\(.title), \(.variants[0].prices[0].amount), \([.stock[].available] | add) to be had"' <<<"$answer"
}
carted() {
	api customer POST /carts 201 "{\"lines\": [{\"variantId\": \"$(variant espresso-cup)\", \"quantity\": 2}]}" | jq -r .cart.id >"$work/cart"
	api customer PATCH "/carts/$(cat "$work/cart")" 200 "{\"shippingMethodId\": \"$(cat "$work/parcel")\",
		\"shippingAddress\": {\"name\": \"Ada\", \"line1\": \"Street 1\", \"city\": \"Berlin\", \"country\": \"DE\"}}" |
		jq -er '.totals | select(.subtotal == "29.80" and .total == "34.70") | "2 x 14.90 + \(.shipping) = \(.total), \(.tax) of it tax"'
}
couponed() {
	api customer POST "/carts/$(cat "$work/cart")/coupons" 200 '{"code": "demo10"}' |
		jq -er '.totals | select(.discount == "2.98" and .total == "31.72") | "\(.discount) off, \(.total) to pay"'
}
order_body() { echo "{\"cartId\": \"$(cat "$work/cart")\", \"payment\": {\"provider\": \"test\"}, \"expectedTotal\": \"31.72\"}"; }
ordered() {
	local before after
	before=$(available espresso-cup)
	api customer POST /orders 201 "$(order_body)" -H "Idempotency-Key: demo-$run" >"$work/order"
	after=$(available espresso-cup)
	jq -r "\"order \\(.number), \\(.state), \\(.totals.total); $before available before, $after after\"" "$work/order"
	[ $((before - after)) = 2 ]
}
replayed() {
	api customer POST /orders 201 "$(order_body)" -H "Idempotency-Key: demo-$run" | cmp - "$work/order"
	grep -i '^idempotency-replayed: true' "$work/headers" | tr -d '\r'
}
listed() {
	api customer GET /orders 200 | jq -er '.orders | select(length == 1) | "one order, \(.[0].total.amount)"'
}
private() {
	api nobody GET "/orders/$(jq -r .id "$work/order")" 401 >/dev/null
	api nobody GET "/orders/$(jq -r .id "$work/order")" 404 '' -H 'X-Cart-Token: nobody' >/dev/null
	echo "nobody else reads the order"
}
cancelled() {
	local before after is
	before=$(available espresso-cup)
	is=$(api customer POST "/orders/$(jq -r .id "$work/order")/cancel" 200 '{"reason": "only a demonstration"}' |
		jq -er '"\(.state), payment \(.payments[0].state)" | select(. == "cancelled, payment voided")')
	after=$(available espresso-cup)
	echo "$is; $before available before, $after after"
	[ $((after - before)) = 2 ]
}
# guest places a guest's order of the last cup; the status it is to have.
guest() {
	local cart
	cart=$(api nobody POST /carts 201 "{\"lines\": [{\"variantId\": \"$(variant last-cup)\", \"quantity\": 1}], \"email\": \"guest-$run@example.com\", \"shippingMethodId\": \"$(cat "$work/parcel")\",
		\"shippingAddress\": {\"name\": \"Ada\", \"line1\": \"Street 1\", \"city\": \"Berlin\", \"country\": \"DE\"}}")
	api nobody POST /orders "$1" "{\"cartId\": \"$(jq -r .cart.id <<<"$cart")\", \"payment\": {\"provider\": \"test\"}}" \
		-H "X-Cart-Token: $(jq -r .token <<<"$cart")"
}
sold_out() {
	local first second
	first=$(guest 201)
	second=$(guest 409 | jq -r .code)
	echo "the first order is $(jq -r .state <<<"$first"), the second is refused: $second"
	api admin POST "/orders/$(jq -r .id <<<"$first")/cancel" 200 '{}' >/dev/null
	[ "$second" = out_of_stock ]
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
check "operator" operator
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
check "a shop to buy in" prepared
check "register" registered
check "log in" logged_in
check "browse" browsed
check "cart" carted
check "coupon" couponed
check "order" ordered
check "the same order again" replayed
check "own orders" listed
check "others' orders" private
check "cancel" cancelled
check "sold out" sold_out
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
