#!/usr/bin/env bash
# Sends the running demo store 100 requests within a minute: 60 pass and 40 are
# answered 429, whichever of its pods they meet; a valid API key is counted for
# itself, a made-up one earns nothing; after Retry-After the store answers again.
# It waits for the present window of this address to end, so it takes up to two
# minutes. Ends non-zero when a figure is not what it should be.
source "$(dirname "$0")/lib.sh"
connect
shop
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf 'header = "Authorization: Bearer %s"\n' "$key" >"$work/valid"
printf 'header = "Authorization: Bearer sk_live_%s"\n' MADEUPMADEUPMADEUPMADEUPMADEUPMA >"$work/made-up"
touch "$work/nobody"

# ask FILE [CURL OPTION...] prints status, limit, remaining, reset and Retry-After of one request over a connection of its own.
ask() {
	local who=$1
	shift
	curl --silent --max-time 20 ${ca:+--cacert "$ca"} --resolve "$resolve" --config "$work/$who" -o /dev/null -D - "$@" "$url/api/health" | tr -d '\r' | awk '
		BEGIN {FS = ": "; limit = remaining = reset = retry = "-"}
		/^HTTP/ {split($0, line, " "); status = line[2]}
		{name = tolower($1)}
		name == "x-ratelimit-limit" {limit = $2}
		name == "x-ratelimit-remaining" {remaining = $2}
		name == "x-ratelimit-reset" {reset = $2}
		name == "retry-after" {retry = $2}
		END {print status, limit, remaining, reset, retry}'
}

echo "pods: $("$kubectl" -n "$namespace" get store "$store" -o 'jsonpath={.status.api.ready}')"
# The first request of a window leaves 59 of 60.
while true; do
	read -r status limit remaining reset _ < <(ask nobody)
	if [ "$limit" != 60 ]; then
		echo "the store limits this address to $limit requests in the window that is nearest its end, not to 60 a minute: is there a RateLimitPolicy, or was an hour's 1,000 used up? (status $status, reset in $reset s)" >&2
		exit 1
	fi
	[ "$remaining" = 59 ] && break
	echo "$remaining requests are left in this minute's window; waiting $reset s for the next"
	sleep $((reset + 1))
done
begin=$(date +%s%3N)
export -f ask
export work ca resolve url
seq 99 | xargs -P 4 -I{} bash -c 'ask nobody' >"$work/answers"
took=$(($(date +%s%3N) - begin))
echo "100 requests in $took ms"
passed=$(($(grep -c '^200 ' "$work/answers") + 1))
refused=$(grep -c '^429 ' "$work/answers" || true)
expect "pass" 60 "$passed"
expect "answered 429" 40 "$refused"
expect "X-RateLimit-Remaining of those" 0 "$(awk '$1 == 429 {print $3}' "$work/answers" | sort -u | paste -sd' ')"
expect "X-RateLimit-Remaining went down one by one" "$(seq 58 -1 0 | paste -sd' ')" "$(awk '$1 == 200 {print $3}' "$work/answers" | sort -rn | paste -sd' ')"
read -r status _ _ reset retry < <(ask nobody)
expect "Retry-After is X-RateLimit-Reset" "$reset" "$retry"
read -r status _ < <(ask made-up)
expect "a made-up key" 429 "$status"
read -r status limit _ < <(ask valid)
expect "a valid key" "200 of 1000" "$status of $limit"
echo "waiting $retry s, as Retry-After says"
sleep "$retry"
read -r status _ remaining _ < <(ask nobody)
expect "then" "200, 59 left" "$status, $remaining left"
[ "$failed" = 0 ]
