# GoCart: every target installs or builds what it needs itself.
SHELL := /bin/bash -o pipefail
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# Tests, lint and images build with the same flags, and so share what is compiled.
export CGO_ENABLED := 0
export GOFLAGS := -trimpath -buildvcs=false

DIST := $(CURDIR)/dist
# A pinned program, built into a cache of this user's the first time.
tool = $$(go run ./hack/build tool $(1))

##@ To see it

.PHONY: help
help: ## Print this help
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\nCLUSTER=native|kind|current chooses the cluster, NODES=3 its size (native).\nWith current: REGISTRY=host/path takes the images; make demo also needs ISSUER=<ClusterIssuer> and HOST=<domain>.\n'

.PHONY: demo
demo: ## Bring up a cluster, the operator and a demo store over HTTPS, and show it
	@hack/demo/up.sh

.PHONY: demo-env
demo-env: ## Print the demo store's address and keys as shell lines: eval "$$(make -s demo-env)"
	@hack/demo/env.sh

.PHONY: demo-check
demo-check: ## Check every part of the running demo store
	@hack/demo/test_complete_system.sh

.PHONY: demo-down
demo-down: ## Remove the demo store, the operator and the cluster
	@hack/demo/down.sh

##@ To test it

.PHONY: test
test: test-programs test-browser ## Run unit, golden, API server, PostgreSQL and Redis tests
	@mkdir -p $(DIST)
	KUBEBUILDER_ASSETS="$$(hack/test/assets.sh)" $(call tool,gotestsum) --format pkgname --hide-summary skipped --jsonfile $(DIST)/test.json -- \
		-timeout 10m $(TESTFLAGS) $$(go list ./... | grep -v /test/e2e)

.PHONY: test-programs
test-programs: # The servers that tests talk to, from Debian's packages
	@hack/test/programs.sh

.PHONY: test-browser
test-browser: # What the JavaScript client is tested in, from Debian's packages
	@go run ./hack/build apt node=nodejs chromium=chromium

.PHONY: e2e
e2e: ## Run the end-to-end suite on a real cluster
	@[ "$$(go run ./hack/cluster backend)" = native ] || { echo "make e2e needs CLUSTER=native: the suite dials addresses of Services, which this machine reaches on no other cluster" >&2; exit 1; }
	@mkdir -p $(DIST)
	@hack/demo/up.sh
	@go run ./hack/build image --load gocart-runtime-badmigration stripe-mock >/dev/null
	@go run ./hack/build image --load --tag next gocart-runtime >/dev/null
	KUBECONFIG="$$(go run ./hack/cluster kubeconfig)" ACME_CA="$$(go run ./hack/addons acme-ca)" \
		$(call tool,gotestsum) --format testname --hide-summary skipped --jsonfile $(DIST)/e2e.json -- \
		-tags e2e -count 1 -timeout 40m $(TESTFLAGS) ./test/e2e/...

.PHONY: verify
verify: ## Check format, lint, generated code, vulnerabilities, rendered manifests, reproducible images
	@go run ./hack/verify
	@go run ./hack/build image --verify-reproducible gocart-operator gocart-runtime

##@ To build it

.PHONY: build
build: ## Build the programs into bin/
	go build -o bin/ ./runtime/cmd/gocart
	go build -o bin/gocart-operator ./controllers/manager

.PHONY: images
images: ## Build the container images into dist/images, and print their digests
	@go run ./hack/build image gocart-operator gocart-runtime postgres redis

.PHONY: generate
generate: ## Write all generated code, manifests and reference pages anew
	@go run ./hack/generate

##@ To run it

.PHONY: cluster-up
cluster-up: ## Bring up the cluster (NODES=3 for three nodes)
	@go run ./hack/cluster up

.PHONY: cluster-down
cluster-down: ## Remove the cluster without a trace
	@go run ./hack/cluster down

.PHONY: cluster-status
cluster-status: ## Say what of the cluster runs
	@go run ./hack/cluster status

.PHONY: cluster-addons
cluster-addons: ## Give the cluster cert-manager, an ACME CA, DNS and an Ingress controller
	@go run ./hack/addons up

.PHONY: install
install: ## Install the operator and its images into the cluster by the chart
	@hack/demo/install.sh

##@ To measure it

.PHONY: bench-operator
bench-operator: ## Measure planning and a steady reconcile
	go test -run '^$$' -bench . -benchmem -count 3 ./controllers/...

.PHONY: bench-api
bench-api: test-programs ## Measure catalogue, cart, checkout, statistics, import and the outbox beside their floors
	@go run ./runtime/internal/api/apibench
	@go run ./runtime/internal/api/apibench -statistics
	@go run ./runtime/internal/api/apibench -import
	go test -run '^$$' -bench 'Outbox|Deliveries|FanOut' -benchtime 10000x ./runtime/internal/events ./runtime/internal/webhook

.PHONY: bench-cache
bench-cache: test-programs ## Measure a cache hit beside bare Gin, and what the cache spares the database
	@go run ./runtime/internal/api/apibench -cache

.PHONY: bench-import
bench-import: test-programs ## Measure how 100,000 products come in and go out
	@go run ./runtime/internal/api/apibench -import

.PHONY: bench-overload
bench-overload: test-programs ## Ask a store for ten times what it can do, with protection and without
	@go run ./runtime/internal/overload/overloadbench

.PHONY: bench-ratelimit
bench-ratelimit: test-programs ## Measure the rate limiter beside a bare Redis script, redis_rate and envoyproxy/ratelimit
	@cd runtime/internal/ratelimit/ratelimitbench && go run .

.PHONY: bench-jobs
bench-jobs: test-programs ## Measure background jobs beside River used bare and asynq
	@cd runtime/internal/jobs/jobsbench && go run .

.PHONY: bench-ws
bench-ws: test-programs ## Measure sockets beside bare servers of other libraries and centrifuge
	@cd runtime/internal/realtime/socketbench && go run .

.PHONY: bench-runtime
bench-runtime: test-programs ## Measure the runtime's hot paths beside their floors
	go test -run '^$$' -bench . -benchmem -count 3 ./runtime/...
