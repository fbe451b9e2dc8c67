package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	scripts = "/docker-entrypoint-initdb.d"
	// startLimit is how long the server of the first start may take.
	startLimit = 2 * time.Minute
)

// prepare makes the database cluster when there is none.
func prepare(s settings, args []string) error {
	if err := os.MkdirAll(s.data, 0o700); err != nil {
		return fmt.Errorf("making PGDATA: %w", err)
	}
	begun := newMarker(s.data)
	if begun.present() {
		fmt.Println("the last first start was cut short; beginning again")
		if err := empty(s.data); err != nil {
			return fmt.Errorf("emptying a half-made %s: %w", s.data, err)
		}
	} else if made(s.data) {
		fmt.Println("PGDATA holds a database; starting it as it is")
		return nil
	}
	if err := s.checkFirstStart(); err != nil {
		return err
	}
	if err := begun.put(); err != nil {
		return err
	}
	if err := initialise(s); err != nil {
		return err
	}
	if err := populate(s, args); err != nil {
		return err
	}
	return begun.remove()
}

func made(data string) bool {
	info, err := os.Stat(filepath.Join(data, "PG_VERSION"))
	return err == nil && info.Size() > 0
}

func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

// initialise runs initdb and opens the server to clients over TCP.
func initialise(s settings) error {
	// Through a shell, because POSTGRES_INITDB_ARGS may quote.
	args := []string{"--username=" + s.user, "--pgdata=" + s.data}
	if s.walDir != "" {
		args = append(args, "--waldir="+s.walDir)
	}
	var password *os.File
	if s.password != "" {
		var err error
		if password, err = pipe(s.password + "\n"); err != nil {
			return err
		}
		defer password.Close()
		args = append(args, "--pwfile=/dev/fd/3")
	}
	cmd := exec.Command("/bin/sh", append([]string{"-c", `exec initdb ` + s.initdbArgs + ` "$@"`, "initdb"}, args...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if password != nil {
		cmd.ExtraFiles = []*os.File{password}
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("initdb: %w", err)
	}
	if err := add(filepath.Join(s.data, "postgresql.conf"), "\nlisten_addresses = '*'\n"); err != nil {
		return err
	}
	return add(filepath.Join(s.data, "pg_hba.conf"), s.accessRule())
}

// pipe returns the reading end of a pipe that holds text, which must be shorter
// than the kernel's buffer (64 KiB).
func pipe(text string) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	_, err = w.WriteString(text)
	return r, err
}

func add(file, text string) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// populate starts the server for this container alone, makes the database, and
// runs the scripts.
func populate(s settings, args []string) error {
	at, err := findSocket(s, args)
	if err != nil {
		return err
	}
	// The last setting wins: no client from outside before the database is made.
	started := exec.Command(server, append(append([]string{"-D", s.data}, args...), "-c", "listen_addresses=")...)
	started.Stdout, started.Stderr = os.Stdout, os.Stderr
	if err := started.Start(); err != nil {
		return err
	}
	var ended error
	exited := make(chan struct{})
	go func() { ended = started.Wait(); close(exited) }()
	err = waitReady(at, s.user, exited)
	if err == nil {
		err = fillIn(s, at)
	}
	if stopErr := started.Process.Signal(syscall.SIGINT); stopErr != nil && !errors.Is(stopErr, os.ErrProcessDone) {
		return errors.Join(err, stopErr)
	}
	<-exited
	return errors.Join(err, ended)
}

// socket is where the server listens for this container's own clients.
type socket struct{ directory, port string }

func (at socket) args() []string { return []string{"--host=" + at.directory, "--port=" + at.port} }

// findSocket asks the server where it would put its socket.
func findSocket(s settings, args []string) (socket, error) {
	directories, err := setting(s, args, "unix_socket_directories")
	if err != nil {
		return socket{}, err
	}
	first, _, _ := strings.Cut(directories, ",")
	port, err := setting(s, args, "port")
	return socket{directory: strings.TrimSpace(first), port: port}, err
}

func setting(s settings, args []string, name string) (string, error) {
	out, err := exec.Command(server, append([]string{"-D", s.data, "-C", name}, args...)...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", fmt.Errorf("asking the server for %s: %w: %s", name, err, strings.TrimSpace(string(exit.Stderr)))
	}
	return strings.TrimSpace(string(out)), err
}

func waitReady(at socket, user string, exited <-chan struct{}) error {
	limit := time.NewTimer(startLimit)
	defer limit.Stop()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		if exec.Command("pg_isready", append(at.args(), "--quiet", "--dbname=postgres", "--username="+user)...).Run() == nil {
			return nil
		}
		select {
		case <-exited:
			return errors.New("the server of the first start ended before it was ready")
		case <-limit.C:
			return fmt.Errorf("the server of the first start was not ready after %s", startLimit)
		case <-poll.C:
		}
	}
}

func fillIn(s settings, at socket) error {
	if s.database != "postgres" {
		// psql quotes the name; an existing database is left alone.
		const create = `SELECT format('CREATE DATABASE %I', :'name') WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec` + "\n"
		if err := psql(s, at, strings.NewReader(create), "--dbname=postgres", "--set=name="+s.database); err != nil {
			return fmt.Errorf("making the database %q: %w", s.database, err)
		}
	}
	files, err := os.ReadDir(scripts)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, file := range files {
		name := filepath.Join(scripts, file.Name())
		if strings.HasPrefix(file.Name(), "..") {
			continue // how Kubernetes keeps a mounted ConfigMap
		}
		if filepath.Ext(name) != ".sql" {
			return fmt.Errorf("%s: this image runs *.sql only", name)
		}
		fmt.Println("running", name)
		if err := psql(s, at, nil, "--dbname="+s.database, "--file="+name); err != nil {
			return fmt.Errorf("running %s: %w", name, err)
		}
	}
	return nil
}

func psql(s settings, at socket, in *strings.Reader, args ...string) error {
	options := append(at.args(), "--no-psqlrc", "--no-password", "--quiet", "--set=ON_ERROR_STOP=1", "--username="+s.user)
	cmd := exec.Command("psql", append(options, args...)...)
	if in != nil {
		cmd.Stdin = in
	}
	cmd.Env = append(ownEnvironment(), "PGPASSWORD="+s.password)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

// ownEnvironment leaves out what would send a client to another server.
func ownEnvironment() []string {
	return slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return strings.HasPrefix(name, "PGHOST") || strings.HasPrefix(name, "PGSERVICE")
	})
}

// marker is a file beside PGDATA that is there while a first start is under
// way, because initdb wants PGDATA empty.
type marker string

func newMarker(data string) marker {
	return marker(filepath.Join(filepath.Dir(data), "."+filepath.Base(data)+".first-start"))
}

func (m marker) present() bool {
	_, err := os.Stat(string(m))
	return err == nil
}

// put leaves the marker out where the folder cannot be written: PGDATA is then
// the mount itself.
func (m marker) put() error {
	err := os.WriteFile(string(m), nil, 0o600)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return nil
	}
	return err
}

func (m marker) remove() error {
	err := os.Remove(string(m))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return nil
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(string(m)))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
