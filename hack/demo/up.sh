#!/usr/bin/env bash
# From nothing to a store over HTTPS: a cluster, the operator, a Store, a curl.
# On a cluster of one's own (CLUSTER=current), ISSUER names a ClusterIssuer of it
# and HOST a domain that the issuer can prove.
source "$(dirname "$0")/lib.sh"
started=$SECONDS
backend=$(go run ./hack/cluster backend)
sample=$(<config/samples/store-demo.yaml)
if [ "$backend" = current ]; then
	if [ -z "${ISSUER:-}" ] || [ -z "${HOST:-}" ]; then
		echo "CLUSTER=current needs ISSUER=<name of a ClusterIssuer> and HOST=<a domain that it can prove>" >&2
		exit 1
	fi
	sample=${sample//pebble-http01/"$ISSUER"}
	sample=${sample//demo.shop.test/"$HOST"}
fi
hack/demo/install.sh
connect

echo "==> the store" >&2
if [ "$backend" = current ] && "$kubectl" get namespace "$namespace" >/dev/null 2>&1 &&
	! "$kubectl" get namespaces --selector "$mark" -o name | grep -qx "namespace/$namespace"; then
	echo "the namespace $namespace is there and not the demo's: it is left alone, and so the demo ends here" >&2
	exit 1
fi
"$kubectl" apply --server-side -f - <<NAMESPACE
{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "$namespace", "labels": {"pod-security.kubernetes.io/enforce": "restricted", "${mark%=*}": "${mark#*=}"}}}
NAMESPACE
sed "s|MAILBOX_IMAGE|$(<dist/demo/mailbox-image)|" hack/demo/mailbox.yaml | "$kubectl" -n "$namespace" apply --server-side --force-conflicts -f -
"$kubectl" apply --server-side --force-conflicts -f - <<<"$sample"
# An image that was built anew under the same tag may bring a newer schema.
"$kubectl" -n "$namespace" annotate "store/$store" --overwrite "commerce.rcommerce.app/reconcile=$(sha256sum dist/images/gocart-runtime.tar | cut -c1-16)"
"$kubectl" -n "$namespace" wait "store/$store" --for=condition=Ready --timeout=5m || {
	"$kubectl" -n "$namespace" describe store "$store"
	exit 1
}
shop

echo "==> a product, and what is left of it when the pods are killed" >&2
auth=$(mktemp)
trap 'rm -f "$auth"' EXIT
printf 'header = "Authorization: Bearer %s"\n' "$key" >"$auth"
product=$(cat hack/demo/product.json)
code=$(call --config "$auth" -o /dev/null -w '%{http_code}' -X POST "$url/api/v1/products" \
	-H 'Content-Type: application/json' -H 'Idempotency-Key: demo-espresso-cup' -d "$product")
echo "POST /api/v1/products: $code"
"$kubectl" -n "$namespace" delete pods --selector "app.kubernetes.io/instance=$store" --grace-period=0 --force --wait=false 2>/dev/null
"$kubectl" -n "$namespace" rollout status "statefulset/$store-postgres" --timeout=3m >/dev/null
"$kubectl" -n "$namespace" rollout status "deployment/$store-api" --timeout=3m >/dev/null
"$kubectl" -n "$namespace" wait "store/$store" --for=condition=Ready --timeout=3m >/dev/null
shop # a forwarded port went with its pod
echo "every pod was killed; GET /api/v1/products/espresso-cup:"
call --retry 10 --retry-all-errors --fail "$url/api/v1/products/espresso-cup"
echo

echo
echo "The store answers at $url after $((SECONDS - started)) s:"
"$kubectl" -n "$namespace" get stores
echo
echo "\$ curl -i ${ca:+--cacert $ca }--resolve $resolve $url/api/health"
call -i "$url/api/health"
echo
call -v -o /dev/null "$url/api/health" 2>&1 | grep -E 'SSL connection using|issuer:|expire date|SSL certificate verify' || true
echo
echo "eval \"\$(make -s demo-env)\" sets GOCART_URL, GOCART_RESOLVE, GOCART_CA, GOCART_ADMIN_KEY and KUBECONFIG; make demo-down removes it all."
