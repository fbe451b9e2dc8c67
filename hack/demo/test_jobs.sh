#!/usr/bin/env bash
# Has the running demo store send 1,000 mails, by workers of 10 x 5 jobs at once:
# every one arrives once, save for 20 whose recipients the mail server refuses;
# those are dead letters, with the server's words. Prints how long they took. Ends
# non-zero when a figure is not what it should be.
source "$(dirname "$0")/lib.sh"
go run ./hack/build apt jq=jq
connect
shop
mails=1000 bad=20
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf 'header = "Authorization: Bearer %s"\n' "$key" >"$work/key"
api() { call --fail --config "$work/key" "$@"; }
mailbox() { "$kubectl" get --raw "/api/v1/namespaces/$namespace/services/mailbox:http/proxy/$1"; }
gocart() { "$kubectl" -n "$namespace" exec -i "deployment/$store-worker" -- /gocart "$@" --config /etc/gocart/config/config.yaml; }

run=$(date +%s)
echo "workers: $("$kubectl" -n "$namespace" get store "$store" -o 'jsonpath={.status.worker.ready}') pods of 10 x 5 jobs of each queue"
before=$(mailbox summary)
newest=$(api "$url/api/v1/jobs?limit=1" | jq '.jobs[0].id // 0')
begin=$(date +%s%3N)
for i in $(seq $mails); do
	to=buyer-$run-$i
	[ "$i" -gt $((mails - bad)) ] && to=refused-$run-$i
	printf '{"template": "test_message", "to": "%s@example.com"}\n' "$to"
done | gocart enqueue email --payloads -
enqueued=$(date +%s%3N)

# All are done when none of ours is left to be worked.
deadline=$((SECONDS + 180))
while true; do
	left=0
	for state in available running retryable; do
		left=$((left + $(api "$url/api/v1/jobs?kind=email&state=$state&limit=100" | jq "[.jobs[] | select(.id > $newest)] | length")))
	done
	[ "$left" = 0 ] && break
	if [ "$SECONDS" -ge "$deadline" ]; then
		echo "after three minutes some mails are still to be sent" >&2
		exit 1
	fi
	sleep 1
done
cursor= all=$work/jobs
: >"$all"
while true; do
	page=$(api "$url/api/v1/jobs?kind=email&limit=100$cursor")
	jq -c ".jobs[] | select(.id > $newest)" <<<"$page" >>"$all"
	next=$(jq -r '.nextCursor // ""' <<<"$page")
	[ -n "$next" ] && [ "$(jq ".jobs[-1].id > $newest" <<<"$page")" = true ] || break
	cursor="&cursor=$next"
done
after=$(mailbox summary)
grown() { echo $(($(jq ".$1" <<<"$after") - $(jq ".$1" <<<"$before"))); }

expect "jobs" "$mails" "$(wc -l <"$all")"
expect "mails that arrived" $((mails - bad)) "$(grown accepted)"
expect "of them different" $((mails - bad)) "$(grown distinct)"
expect "more than once" 0 "$(grown repeated)"
expect "jobs completed" $((mails - bad)) "$(jq -s 'map(select(.state == "completed")) | length' "$all")"
expect "dead letters" "$bad" "$(jq -s 'map(select(.state == "dead")) | length' "$all")"
expect "dead letters with the mail server's reason" "$bad" "$(jq -s 'map(select(.state == "dead" and (.failures[-1].error | test("no such mailbox here")))) | length' "$all")"
echo "success rate $(jq -s "100 * (map(select(.state == \"completed\")) | length) / length" "$all") %"
echo "enqueued in $((enqueued - begin)) ms"
jq -rs 'def at: sub("\\.[0-9]+"; "") | fromdateiso8601;
	def seconds: capture("^(?<s>.*?)(?<f>\\.[0-9]+)?Z$") | ((.s + "Z") | fromdateiso8601) + ((.f // "0") | tonumber);
	map({wait: ((.startedAt | seconds) - (.scheduledAt | seconds)), take: ((.finishedAt | seconds) - (.startedAt | seconds)), done: (.finishedAt | seconds), made: (.createdAt | seconds)})
	| "a mail took \(1000 * (map(.take) | add / length) | round) ms on average, after waiting \(1000 * (map(.wait) | add / length) | round) ms",
	  "all were worked in \(1000 * ((map(.done) | max) - (map(.made) | min)) | round) ms, \((length / ((map(.done) | max) - (map(.made) | min))) | round) a second"' "$all"
jq -r 'select(.state == "dead") | .id' "$all" | while read -r id; do api -X DELETE "$url/api/v1/jobs/$id" >/dev/null; done
[ "$failed" = 0 ]
