// Command wrapper is the runtime with a migration that always fails. The e2e
// suite deploys it to see that the old version keeps serving.
package main

import (
	"fmt"
	"os"
	"slices"
	"syscall"
)

const runtime = "/gocart.real"

func main() {
	if slices.Contains(os.Args[1:], "migrate") {
		fmt.Fprintln(os.Stderr, `{"level":"ERROR","msg":"migrating the database","error":"this image's migration fails on purpose"}`)
		os.Exit(1)
	}
	err := syscall.Exec(runtime, append([]string{"gocart"}, os.Args[1:]...), os.Environ())
	fmt.Fprintf(os.Stderr, "running %s: %v\n", runtime, err)
	os.Exit(1)
}
