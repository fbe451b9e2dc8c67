#!/usr/bin/env bash
# Brings up the cluster, its add-ons and the operator, by the chart. Safe to repeat.
# On a cluster of one's own (CLUSTER=current), REGISTRY=host/path is where its
# images are pushed to, and nothing but the operator is installed.
set -euo pipefail
cd "$(dirname "$0")/../.."
tool() { go run ./hack/build tool "$1"; }

backend=$(go run ./hack/cluster backend)
if [ "$backend" = current ] && [ -z "${REGISTRY:-}" ]; then
	echo "CLUSTER=current needs REGISTRY=host/path: a registry that you may push to and that the cluster pulls from" >&2
	exit 1
fi
go run ./hack/cluster up
KUBECONFIG=$(go run ./hack/cluster kubeconfig)
export KUBECONFIG
kubectl=$(tool kubectl)
images=(gocart-operator gocart-runtime mailbox)
if [ "$backend" != current ]; then
	go run ./hack/addons up
	images+=(postgres redis)
elif "$kubectl" get crd certificates.cert-manager.io >/dev/null 2>&1; then
	echo "using the cluster's own cert-manager" >&2
else
	echo "the cluster has no cert-manager: a Store gets no certificate until you install it" >&2
fi

echo "==> images" >&2
declare -A image
built=$(go run ./hack/build image --load "${images[@]}")
while read -r reference digest; do
	name=${reference##*/}
	name=${name%%:*}
	# A node of somebody else's keeps what it once pulled under a tag: name the content.
	[ "$backend" != current ] || reference=${REGISTRY%/}/$name:sha-${digest:7:12}
	image[$name]=$reference
done <<<"$built"

echo "==> operator" >&2
helm=$(tool helm)
# The digest rolls the operator when its image changed under the same tag.
digest=$(sha256sum dist/images/gocart-operator.tar | cut -c1-16)
values=(
	--set image.repository="${image[gocart-operator]%:*}" --set image.tag="${image[gocart-operator]##*:}"
	--set-string podAnnotations.image-digest="$digest"
	--set images.runtime="${image[gocart-runtime]}"
)
if [ "$backend" != current ]; then
	acme_ca=$(mktemp)
	trap 'rm -f "$acme_ca"' EXIT
	"$kubectl" -n acme get configmap pebble-ca -o 'jsonpath={.data.ca\.crt}' >"$acme_ca"
	values+=(
		--set images.postgres="${image[postgres]}"
		--set images.redis="${image[redis]}"
		--set acme.stagingURL=https://pebble.acme.svc:14000/dir
		--set-file acme.caBundle="$acme_ca"
	)
fi
"$helm" upgrade --install gocart-operator charts/gocart-operator \
	--namespace gocart-system --create-namespace --wait --timeout 3m "${values[@]}" >/dev/null
"$kubectl" -n gocart-system get deployments
# For the demo, which runs it beside its store.
mkdir -p dist/demo
echo "${image[mailbox]}" >dist/demo/mailbox-image
