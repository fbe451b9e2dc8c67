// Package runtime holds the commands that generate code for the runtime; it has no code of its own.
package runtime

//go:generate sh -c "$(go run ../hack/build tool sqlc) generate"
//go:generate sh -c "$(go run ../hack/build tool oapi-codegen) -config openapi/server.yaml openapi/openapi.yaml"
//go:generate sh -c "$(go run ../hack/build tool oapi-codegen) -config openapi/client.yaml openapi/openapi.yaml"
