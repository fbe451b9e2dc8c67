// Package openapi holds the store's HTTP API as written in openapi.yaml, and
// the server's side of it that is generated from there. The client's side is
// in openapi/client.
package openapi

import _ "embed"

// YAML is the document itself, OpenAPI 3.0.3.
//
//go:embed openapi.yaml
var YAML []byte
