// Command entrypoint becomes the HAProxy Ingress controller, after it has put a
// file where HAProxy's master socket will be.
//
// The controller starts HAProxy and connects to that socket. Where nothing is
// there it waits, unless the socket appears between its attempt and its look for
// the file: then it gives up, and at the next change starts a second HAProxy. The
// first listens on, and answers every other connection by what was there when it
// began. A file that nobody listens at is refused instead, and then it waits.
package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

const (
	controller = "/haproxy-ingress"
	socket     = "/var/run/haproxy/master.sock"
)

func main() {
	err := reserve(socket)
	if err == nil {
		err = syscall.Exec(controller, append([]string{controller}, os.Args[1:]...), os.Environ())
	}
	fmt.Fprintln(os.Stderr, "haproxy-ingress:", err)
	os.Exit(1)
}

// reserve makes an empty file that a socket takes the place of. What is there
// already, as after a restart of the container, stays.
func reserve(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}
