// Command entrypoint copies the zones to where BIND may write, because a
// dynamic update changes them, and becomes BIND.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

const (
	shipped = "/etc/bind/zones"
	written = "/var/cache/bind/zones"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bind9:", err)
		os.Exit(1)
	}
}

func run() error {
	if err := os.MkdirAll(written, 0o755); err != nil {
		return err
	}
	zones, err := filepath.Glob(filepath.Join(shipped, "*.zone"))
	if err != nil {
		return err
	}
	for _, zone := range zones {
		data, err := os.ReadFile(zone)
		if err != nil {
			return err
		}
		copied := filepath.Join(written, filepath.Base(zone))
		if _, err := os.Stat(copied); err == nil {
			continue // the container restarted: keep what updates made of it
		}
		if err := os.WriteFile(copied, data, 0o644); err != nil {
			return err
		}
	}
	const named = "/usr/sbin/named"
	args := append([]string{named, "-g", "-c", "/etc/bind/named.conf"}, os.Args[1:]...)
	return fmt.Errorf("running %s: %w", named, syscall.Exec(named, args, os.Environ()))
}
