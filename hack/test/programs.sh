#!/usr/bin/env bash
# Installs the servers that tests talk to, where they are missing.
set -euo pipefail
cd "$(dirname "$0")/../.."
go run ./hack/build apt redis-server=redis-server gcc=gcc
# Debian keeps PostgreSQL's programs off the PATH, in a folder by version.
if ! command -v postgres >/dev/null && ! compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; then
	go run ./hack/build apt postgres=postgresql || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null
fi
