#!/usr/bin/env bash
# Shows the running demo store's WebSocket: who says nothing of who they are, or
# something wrong, hears nothing; an API key hears what its scopes let it; and each
# change of stock is told at once, in order, with none missing. Prints how long
# that takes. Ends non-zero when a figure is not what it should be.
source "$(dirname "$0")/lib.sh"
go run ./hack/build apt jq=jq
connect
shop
changes=20
work=$(mktemp -d)
run=$(date +%s)
printf '%s' "$key" >"$work/admin-key"
printf 'sk_live_%s' MADEUPMADEUPMADEUPMADEUPMADEUPMA >"$work/made-up"
printf 'header = "Authorization: Bearer %s"\nheader = "Content-Type: application/json"\n' "$key" >"$work/key"
api() { call --fail --config "$work/key" "$@"; }
go build -o "$work/gocart" ./runtime/cmd/gocart
listen() { "$work/gocart" listen --url "ws${url#http}/ws" --resolve "$resolve" ${ca:+--ca-file "$ca"} --timeout 60s "$@"; }
clean() {
	api -X DELETE -o /dev/null "$url/api/v1/products/socket-demo-$run" || true
	[ -z "${limited:-}" ] || api -X DELETE -o /dev/null "$url/api/v1/api-keys/$limited" || true
	rm -rf "$work"
}
trap clean EXIT

# refused COMMAND... prints how it fails, in a word.
refused() {
	local said
	if said=$("$@" 2>&1 >"$work/heard"); then
		echo "not refused"
		return
	fi
	case $said in
	*"who you are"*) echo "asked who it is" ;;
	*" 401 "*) echo "refused with 401" ;;
	*"needs the scope"*) echo "refused for its scopes" ;;
	*) echo "$said" ;;
	esac
}

expect "without credentials" "asked who it is" "$(refused listen --topic inventory)"
expect "with a made-up key" "refused with 401" "$(refused listen --topic inventory --key-file "$work/made-up")"
api -o "$work/limited" -d '{"name": "socket demo", "scopes": ["products:read"]}' "$url/api/v1/api-keys"
limited=$(jq -r .apiKey.id "$work/limited")
jq -j .secret "$work/limited" >"$work/limited-key"
expect "with a key for products alone" "refused for its scopes" "$(refused listen --topic inventory --key-file "$work/limited-key")"

api -o "$work/product" -d "$(jq -c --arg run "$run" '.title = "Told of" | .slug = "socket-demo-" + $run | .variants[0].sku = "SOCKET-" + $run' hack/demo/product.json)" "$url/api/v1/products"
variant=$(jq -r '.variants[0].id' "$work/product")
location=$(api "$url/api/v1/locations" | jq -r '.locations[0].id')
# Other tests may change other stock meanwhile: only this product's is listened to.
begin=${EPOCHREALTIME/[.,]/}
coproc live { listen --key-file "$work/admin-key" --count "$changes" --topic "inventory/$(jq -r .id "$work/product")"; }
exec {heard}<&"${live[0]}" # which stays when it has ended

hear '"type":"hello"'
hear '"type":"subscribed"'
echo "connected, authenticated and subscribed in $(((${EPOCHREALTIME/[.,]/} - begin) / 1000)) ms: $(jq -c 'del(.receivedAt)' <<<"$message")"
for n in $(seq $changes); do
	sent=${EPOCHREALTIME/[.,]/}
	api -o /dev/null -H "Idempotency-Key: socket-$run-$n" "$url/api/v1/inventory/adjustments" \
		-d "{\"reason\": \"count\", \"changes\": [{\"sku\": \"SOCKET-$run\", \"locationId\": \"$location\", \"quantity\": $((100 + n))}]}"
	hear '"event":"stock.changed"'
	jq -c --argjson sent "$sent" '{subject, position, available: .data.available, at, receivedAt, sent: $sent}' <<<"$message" >>"$work/events"
done
jq -r '"for example: " + ({subject, position, available} | tostring)' <(tail -n 1 "$work/events")
expect "changes told" "$(seq -s' ' 101 $((100 + changes)))" "$(jq -r .available "$work/events" | paste -sd' ')"
expect "about the variant" "$variant" "$(jq -r .subject "$work/events" | sort -u)"
expect "positions rise" yes "$(jq -rs 'map(.position) | if . == (unique) then "yes" else tostring end' "$work/events")"

micros='def micros: capture("^(?<s>[^.Z]*)(?<f>\\.[0-9]+)?Z$") | ((.s + "Z" | fromdateiso8601) + ((.f // "0") | tonumber)) * 1e6;'
jq -rs "$micros"'
	def stats: sort | "\((.[(length - 1) / 2 | floor] / 100 | round) / 10) ms, the slowest \((.[-1] / 100 | round) / 10) ms";
	"from the change in the store to the socket: " + (map((.receivedAt | micros) - (.at | micros)) | stats) + ", by the clocks of both",
	"from the request being sent to the socket:  " + (map((.receivedAt | micros) - .sent) | stats)' "$work/events"
slow=$(jq -s "$micros"' map(select((.receivedAt | micros) - .sent > 1e6)) | length' "$work/events")
expect "told later than a second after the request" 0 "$slow"
[ "$failed" = 0 ]
