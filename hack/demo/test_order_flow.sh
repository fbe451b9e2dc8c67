#!/usr/bin/env bash
# Orders from the running demo store over its WebSocket, and follows what an order
# causes: it is confirmed, told to who listens, its mail is queued, it was counted
# within the limits, what is left is told and shown at once. Then a price changes,
# and what caches keep of the product is forgotten. Prints each step's time, and
# the middle one of several orders' whole flows, which is to be below 200 ms. Ends
# non-zero when a figure is not what it should be.
source "$(dirname "$0")/lib.sh"
go run ./hack/build apt jq=jq
connect
shop
orders=9
work=$(mktemp -d)
run=$(date +%s)
printf '%s' "$key" >"$work/admin-key"
printf 'header = "Authorization: Bearer %s"\nheader = "Content-Type: application/json"\n' "$key" >"$work/key"
api() { call --fail --config "$work/key" "$@"; }
go build -o "$work/gocart" ./runtime/cmd/gocart
product=$url/api/v1/products/flow-demo-$run
trap 'api -X DELETE -o /dev/null "$product" || true; rm -rf "$work"' EXIT

# ensure PATH LIST NAME BODY makes what is not there yet, and prints its id.
ensure() {
	local id
	id=$(api "$url/api/v1$1" | jq -r --arg name "$3" "first(.$2[] | select(.name == \$name) | .id) // empty")
	[ -n "$id" ] || id=$(api -d "$4" "$url/api/v1$1" | jq -r .id)
	echo "$id"
}

# body AMOUNT is the product with a price.
body() {
	jq -c --arg run "$run" --arg amount "$1" \
		'.title = "Ordered" | .slug = "flow-demo-" + $run | .variants[0].sku = "FLOW-" + $run | .variants[0].prices[0].amount = $amount' hack/demo/product.json
}

say() { printf '%s\n' "$1" >&"${live[1]}"; }

# step NAME notes how long it is since the last one.
step() {
	local now=${EPOCHREALTIME/[.,]/}
	printf '%s\t%s\n' "$1" $((now - last)) >>"$work/steps"
	last=$now
}

zone=$(ensure /zones zones "Demo world" '{"name": "Demo world", "areas": ["*"]}')
parcel=$(ensure /shipping-methods shippingMethods "Demo parcel" \
	"{\"name\": \"Demo parcel\", \"zoneId\": \"$zone\", \"prices\": [{\"price\": {\"amount\": \"4.90\", \"currency\": \"EUR\"}}]}")
api -o "$work/product" -d "$(body 10.00)" "$url/api/v1/products"
variant=$(jq -r '.variants[0].id' "$work/product")
location=$(api "$url/api/v1/locations" | jq -r '.locations[0].id')
api -o /dev/null -d "{\"reason\": \"count\", \"changes\": [{\"sku\": \"FLOW-$run\", \"locationId\": \"$location\", \"quantity\": 100}]}" "$url/api/v1/inventory/adjustments"

coproc live {
	"$work/gocart" listen --url "ws${url#http}/ws" --resolve "$resolve" ${ca:+--ca-file "$ca"} --key-file "$work/admin-key" \
		--topic orders --topic "inventory/$(jq -r .id "$work/product")" --timeout 120s --say
}
exec {heard}<&"${live[0]}"
hear '"type":"hello"'
hear '"topic":"orders"'
hear '"topic":"inventory/'
call --fail -o "$work/kept" "$product" # so that it is kept

# The middle one of times in microseconds, in ms.
middle() { sort -n | awk '{a[NR] = $1} END {printf "%.1f", a[int((NR + 1) / 2)] / 1000}'; }

for n in $(seq $orders); do
	in=$(jq -cn --arg variant "$variant" --arg parcel "$parcel" --arg email "flow-$run-$n@example.com" \
		'{lines: [{variantId: $variant, quantity: 1}], email: $email, shippingMethodId: $parcel,
		  shippingAddress: {name: "Ada", line1: "Street 1", city: "Berlin", country: "DE"}}')
	say "{\"type\":\"command\",\"id\":\"cart-$n\",\"method\":\"POST\",\"path\":\"/carts\",\"idempotencyKey\":\"cart-$run-$n\",\"body\":$in}"
	hear "\"id\":\"cart-$n\""
	cart=$(jq -r .body.cart.id <<<"$message") token=$(jq -r '.body.token // ""' <<<"$message")
	price=$(body "1$n.00")

	begin=${EPOCHREALTIME/[.,]/} last=$begin
	say "{\"type\":\"command\",\"id\":\"order-$n\",\"method\":\"POST\",\"path\":\"/orders\",\"idempotencyKey\":\"order-$run-$n\",\"cartToken\":\"$token\",\"body\":{\"cartId\":\"$cart\",\"payment\":{\"provider\":\"test\"}}}"
	# The reply and the events come in any order, and with those of other orders.
	reply='' number='' placed='' left=''
	until [ -n "$reply" ] && [ -n "$left" ] && [[ $placed == *"\"number\":\"$number\""* ]]; do
		hear '"type":'
		case $message in
		*"\"id\":\"order-$n\""*)
			reply=$message
			[[ $message =~ \"number\":\"([0-9]+)\" ]] || { echo "no order: $message" >&2 && exit 1; }
			number=${BASH_REMATCH[1]}
			;;
		*'"event":"order.placed"'*) placed+=$message$'\n' ;;
		*'"event":"stock.changed"'*) left=$message ;;
		esac
	done
	step "ordered, confirmed and told over the socket"
	api -D "$work/headers" -o "$work/jobs" "$url/api/v1/jobs?kind=email&limit=20"
	step "its mail is queued, within the limits"
	call --fail -o "$work/shown" "$product?include=stock"
	step "what is left is shown"
	api -X PUT -o /dev/null -d "$price" "$product"
	step "a price is changed"
	# Another replica hears of it a millisecond or two later.
	until call --fail -o "$work/kept" "$product" && grep -q "\"1$n.00\"" "$work/kept"; do
		[ $((${EPOCHREALTIME/[.,]/} - last)) -lt 2000000 ] || break
	done
	step "no cache tells the old one"
	echo "$((${EPOCHREALTIME/[.,]/} - begin))" >>"$work/flows"

	jq -cn --argjson reply "$reply" --argjson left "$left" --slurpfile placed <(printf %s "$placed") --slurpfile jobs "$work/jobs" --slurpfile shown "$work/shown" --slurpfile kept "$work/kept" '
		$reply.body.id as $id | {
		status: $reply.status, state: $reply.body.state, told: ($placed[] | select(.subject == $id) | .data.to),
		left: $left.data.available, shown: ([$shown[0].stock[].available] | add), price: $kept[0].variants[0].prices[0].amount,
		mails: [$jobs[0].jobs[] | select(.payload.orderId == $id and .payload.template == "order_placed")] | length}' >>"$work/results"
done

all() { jq -r "$1" "$work/results" | sort -u | paste -sd' '; }
expect "orders stored" 201 "$(all .status)"
expect "state in the reply" confirmed "$(all .state)"
expect "state in the event" confirmed "$(all .told)"
expect "mails queued for each" 1 "$(all .mails)"
expect "left, as told" "$(seq -s' ' 99 -1 $((100 - orders)))" "$(jq -r .left "$work/results" | paste -sd' ')"
expect "left, as shown at once" "$(seq -s' ' 99 -1 $((100 - orders)))" "$(jq -r .shown "$work/results" | paste -sd' ')"
expect "price at once after it was changed" "$(for n in $(seq $orders); do echo "1$n.00"; done | paste -sd' ')" "$(jq -r .price "$work/results" | paste -sd' ')"
header() { tr -d '\r' <"$work/headers" | awk -v h="$1" 'BEGIN {FS = ": "} tolower($1) == tolower(h) {print $2}'; }
expect "limit of the key" 1000 "$(header X-RateLimit-Limit)"
echo "$(header X-RateLimit-Remaining) are left of it in this minute: what is said over the socket counts too"

echo "the middle one of $orders:"
cut -f1 "$work/steps" | awk '!seen[$0]++' | while read -r name; do
	printf '  %-44s %6s ms\n' "$name" "$(awk -F'\t' -v name="$name" '$1 == name {print $2}' "$work/steps" | middle)"
done
whole=$(middle <"$work/flows")
printf '  %-44s %6s ms\n' "the whole flow" "$whole"
echo "each step after the first is a connection of its own, with TLS, and curl's start"
expect "the whole flow below 200 ms" yes "$(awk -v ms="$whole" 'BEGIN {print ms < 200 ? "yes" : "no"}')"
[ "$failed" = 0 ]
