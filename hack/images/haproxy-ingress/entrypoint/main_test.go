package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestWhoConnectsBeforeHAProxyListensIsRefused(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "sock") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "m")
	connect := func() error {
		c, err := new(net.Dialer).DialContext(t.Context(), "unix", path)
		if err == nil {
			err = c.Close()
		}
		return err
	}
	if err := reserve(path); err != nil {
		t.Fatal(err)
	}
	if err := connect(); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("it is told %v", err)
	}
	// HAProxy listens under another name, and takes the file's place.
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", path+".tmp")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if err := os.Rename(path+".tmp", path); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(reserve(path), connect()); err != nil {
		t.Errorf("%v", err)
	}
}

func TestWhatCannotBeReservedIsAnError(t *testing.T) {
	t.Parallel()
	if err := reserve(filepath.Join(t.TempDir(), "missing", "m")); err == nil {
		t.Error("it is none")
	}
}
