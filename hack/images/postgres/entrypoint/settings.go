package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// settings are what the environment says about the first start.
type settings struct {
	data       string // PGDATA
	user       string
	password   string
	database   string
	initdbArgs string // as a shell would read them
	walDir     string
	hostAuth   string // method in pg_hba.conf for clients over TCP
}

func readSettings(env func(string) string, read func(string) ([]byte, error)) (settings, error) {
	var problem error
	value := func(name, otherwise string) string {
		v, file := env(name), env(name+"_FILE")
		switch {
		case v != "" && file != "":
			problem = errors.Join(problem, fmt.Errorf("%s and %s_FILE are both set: set one", name, name))
		case file != "":
			text, err := read(file)
			if err != nil {
				problem = errors.Join(problem, fmt.Errorf("reading %s_FILE: %w", name, err))
			}
			v = strings.TrimRight(string(text), "\r\n")
		}
		if v == "" {
			return otherwise
		}
		return v
	}
	s := settings{
		data:       env("PGDATA"),
		user:       value("POSTGRES_USER", "postgres"),
		password:   value("POSTGRES_PASSWORD", ""),
		initdbArgs: value("POSTGRES_INITDB_ARGS", ""),
		walDir:     env("POSTGRES_INITDB_WALDIR"),
		hostAuth:   env("POSTGRES_HOST_AUTH_METHOD"),
	}
	s.database = value("POSTGRES_DB", s.user)
	if !filepath.IsAbs(s.data) {
		problem = errors.Join(problem, fmt.Errorf("PGDATA is %q and must be an absolute path", s.data))
	}
	return s, problem
}

// checkFirstStart says what a first start lacks. A server that was set up
// earlier needs no password.
func (s settings) checkFirstStart() error {
	if s.password == "" && s.hostAuth != "trust" {
		return errors.New("a new database needs a superuser password: set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE" +
			" (or POSTGRES_HOST_AUTH_METHOD=trust to let everyone in without one)")
	}
	return nil
}

// accessRule is the line of pg_hba.conf for clients over TCP.
func (s settings) accessRule() string {
	method := s.hostAuth
	if method == "" {
		method = "scram-sha-256"
	}
	return "\nhost all all all " + method + "\n"
}
