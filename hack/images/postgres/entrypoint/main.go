// Command entrypoint starts PostgreSQL the way the official image does, without
// a shell script: it makes the database cluster on the first start, from
// POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB, POSTGRES_INITDB_ARGS,
// POSTGRES_INITDB_WALDIR and POSTGRES_HOST_AUTH_METHOD (the first four also
// with _FILE), runs /docker-entrypoint-initdb.d/*.sql, and becomes the server.
//
// Two things differ, for a Pod that may be killed at any moment and may not run
// as root: a first start that was cut short is begun again (the official image
// takes half a cluster for a whole one), where the folder above PGDATA can be
// written; and root is refused, not stepped down from. Shell scripts in
// docker-entrypoint-initdb.d are refused too.
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

const server = "postgres"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "postgres:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		args = append([]string{server}, args...)
	}
	if args[0] != server || asksForHelp(args[1:]) {
		return become(args)
	}
	if os.Geteuid() == 0 {
		return errors.New("the server does not run as root: give the container another user, 999 for instance")
	}
	if err := nameUser(os.Getuid(), os.Getgid()); err != nil {
		return fmt.Errorf("giving user id %d a name: %w", os.Getuid(), err)
	}
	s, err := readSettings(os.Getenv, os.ReadFile)
	if err != nil {
		return err
	}
	if err := prepare(s, args[1:]); err != nil {
		return err
	}
	return become(args)
}

// asksForHelp says whether the server would answer and exit.
func asksForHelp(args []string) bool {
	return slices.ContainsFunc(args, func(arg string) bool {
		return slices.Contains([]string{"-?", "--help", "--describe-config", "-V", "--version"}, arg)
	})
}

func become(args []string) error {
	program, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	return fmt.Errorf("running %s: %w", program, syscall.Exec(program, args, os.Environ()))
}
