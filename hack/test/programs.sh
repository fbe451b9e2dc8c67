#!/usr/bin/env bash
# Installs the servers that tests talk to, where they are missing.
set -euo pipefail
cd "$(dirname "$0")/../.."
needs=(redis-server=redis-server gcc=gcc)
# Debian keeps PostgreSQL's programs off the PATH, in a folder by version.
if ! command -v postgres >/dev/null && ! compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; then
	needs+=(postgres=postgresql)
fi
go run ./hack/build apt "${needs[@]}" || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null
