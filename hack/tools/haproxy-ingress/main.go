// A check of the controller's has blanks in its path, which the patterns of
// newer Go take for a method. The directive counts only above the package.

//go:debug httpmuxgo121=1

// Command haproxy-ingress is the HAProxy Ingress controller with what its
// image's shell script did: it puts the Lua files where HAProxy reads them and
// then runs the controller. HAProxy itself is started by the controller, as a
// master with workers (-master-worker).
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/jcmoraisjr/haproxy-ingress/pkg/controller"
)

const (
	luaShipped = "/etc/lua"
	luaRead    = "/etc/haproxy/lua" // on a volume, because the controller writes beside it
)

func main() {
	if err := os.CopyFS(luaRead, os.DirFS(luaShipped)); err != nil && !os.IsExist(err) {
		fmt.Fprintln(os.Stderr, "haproxy-ingress: copying the Lua files:", err)
		os.Exit(1)
	}
	ingress := controller.NewHAProxyController()
	stopped := make(chan error, 1)
	go func() {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
		<-signals
		stopped <- ingress.Stop()
	}()
	ingress.Start()
	if err := <-stopped; err != nil {
		fmt.Fprintln(os.Stderr, "haproxy-ingress: stopping:", err)
		os.Exit(1)
	}
}
