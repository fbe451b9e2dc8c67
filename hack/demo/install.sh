#!/usr/bin/env bash
# Brings up the cluster, its add-ons and the operator, by the chart. Safe to repeat.
set -euo pipefail
cd "$(dirname "$0")/../.."
tool() { go run ./hack/build tool "$1"; }

go run ./hack/cluster up
KUBECONFIG=$(go run ./hack/cluster kubeconfig)
export KUBECONFIG
go run ./hack/addons up

echo "==> images" >&2
declare -A image
while read -r reference _; do
	name=${reference##*/}
	image[${name%%:*}]=$reference
done < <(go run ./hack/build image --load gocart-operator gocart-runtime postgres redis)

echo "==> operator" >&2
helm=$(tool helm) kubectl=$(tool kubectl)
acme_ca=$(mktemp)
trap 'rm -f "$acme_ca"' EXIT
"$kubectl" -n acme get configmap pebble-ca -o 'jsonpath={.data.ca\.crt}' >"$acme_ca"
# The digest rolls the operator when its image changed under the same tag.
digest=$(sha256sum dist/images/gocart-operator.tar | cut -c1-16)
"$helm" upgrade --install gocart-operator charts/gocart-operator \
	--namespace gocart-system --create-namespace --wait --timeout 3m \
	--set image.repository="${image[gocart-operator]%:*}" --set image.tag="${image[gocart-operator]##*:}" \
	--set-string podAnnotations.image-digest="$digest" \
	--set images.runtime="${image[gocart-runtime]}" \
	--set images.postgres="${image[postgres]}" \
	--set images.redis="${image[redis]}" \
	--set acme.stagingURL=https://pebble.acme.svc:14000/dir \
	--set-file acme.caBundle="$acme_ca" >/dev/null
"$kubectl" -n gocart-system get deployments
