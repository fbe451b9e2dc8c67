// Command entrypoint starts Redis the way the official image does: arguments
// that are options or a configuration file go to redis-server, anything else
// is a command of its own.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
)

const server = "redis-server"

func main() {
	args := command(os.Args[1:], os.ReadFile)
	program, err := exec.LookPath(args[0])
	if err == nil {
		if args[0] == server {
			syscall.Umask(0o077) // the data is nobody else's
		}
		err = syscall.Exec(program, args, os.Environ())
	}
	fmt.Fprintln(os.Stderr, "redis:", err)
	if errors.Is(err, exec.ErrNotFound) {
		os.Exit(127)
	}
	os.Exit(1)
}

// command is what the container's arguments ask to run.
func command(args []string, read func(string) ([]byte, error)) []string {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") || strings.HasSuffix(args[0], ".conf") {
		args = append([]string{server}, args...)
	}
	if args[0] != server || slices.ContainsFunc(args, func(a string) bool { return a == "--version" || a == "-v" || a == "--help" || a == "-h" }) {
		return args
	}
	// The official image's server is built with protected mode off: in a
	// container every client is a remote one.
	if !setsProtectedMode(args[1:], read) {
		args = append(slices.Clone(args), "--protected-mode", "no")
	}
	return args
}

func setsProtectedMode(args []string, read func(string) ([]byte, error)) bool {
	if slices.ContainsFunc(args, func(a string) bool { return strings.EqualFold(a, "--protected-mode") }) {
		return true
	}
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return false
	}
	config, err := read(args[0])
	if err != nil {
		return false // redis-server says so better
	}
	for line := range strings.Lines(string(config)) {
		if fields := strings.Fields(line); len(fields) > 0 && strings.EqualFold(fields[0], "protected-mode") {
			return true
		}
	}
	return false
}
