// Package pgserver runs a private PostgreSQL from the machine's own binaries,
// in a folder of its own and on a Unix socket only, for `gocart dev` and for
// tests. It downloads nothing. Started by root, the server runs as an
// unprivileged user, since PostgreSQL refuses to be root.
package pgserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Options are how to run a server.
type Options struct {
	// Dir holds the data and the socket; it is made when missing and kept.
	Dir string
	// Settings are of postgresql.conf, such as "fsync=off".
	Settings []string
	// StartTimeout bounds Start; zero is 60 s.
	StartTimeout time.Duration
}

// Server is one PostgreSQL.
type Server struct {
	bin     string
	options Options
	as      *syscall.Credential
	userAs  string
	cmd     *exec.Cmd
	log     *os.File
	done    chan struct{}
}

const superuser = "gocart"

// Start makes the server's data where there is none, starts it and waits until
// it takes connections.
func Start(ctx context.Context, o Options) (*Server, error) {
	bin, err := Find()
	if err != nil {
		return nil, err
	}
	if o.StartTimeout == 0 {
		o.StartTimeout = time.Minute
	}
	s := &Server{bin: bin, options: o}
	if os.Geteuid() == 0 {
		if s.as, s.userAs, err = unprivileged(); err != nil {
			return nil, err
		}
	}
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	if err := s.Restart(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Find returns the folder of PostgreSQL's programs: that of postgres in PATH,
// else the newest of Debian's.
func Find() (string, error) {
	if p, err := exec.LookPath("postgres"); err == nil {
		if real, err := filepath.EvalSymlinks(p); err == nil && executable(filepath.Join(filepath.Dir(real), "initdb")) {
			return filepath.Dir(real), nil
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // the pattern is well formed
	slices.SortFunc(found, func(a, b string) int { return major(b) - major(a) })
	for _, p := range found {
		if executable(p) {
			return filepath.Dir(p), nil
		}
	}
	return "", errors.New("no PostgreSQL on this machine: install Debian's package postgresql (apt-get install postgresql), " +
		"put initdb and postgres in PATH, or name a database by its URL")
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir() && info.Mode()&0o111 != 0
}

func major(initdb string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(initdb)))) // others sort last
	return n
}

func unprivileged() (*syscall.Credential, string, error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, "", err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, name, nil
	}
	return nil, "", errors.New("PostgreSQL does not run as root, and this machine has neither a user postgres nor nobody")
}

// prepare makes the folder and, in it, a database cluster.
func (s *Server) prepare(ctx context.Context) error {
	if err := os.MkdirAll(s.options.Dir, 0o700); err != nil {
		return err
	}
	if s.as != nil {
		if err := os.Chown(s.options.Dir, int(s.as.Uid), int(s.as.Gid)); err != nil {
			return err
		}
	}
	if _, err := os.Stat(filepath.Join(s.data(), "PG_VERSION")); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	initdb := s.command(ctx, "initdb", "-D", s.data(), "-U", superuser, "-E", "UTF8", "--locale=C.UTF-8",
		"--auth=trust", "--no-sync", "--no-instructions")
	if out, err := initdb.CombinedOutput(); err != nil {
		hint := ""
		if bytes.Contains(out, []byte("ermission denied")) {
			hint = fmt.Sprintf(" (the user %s must be able to reach %s)", s.userAs, s.options.Dir)
		}
		return fmt.Errorf("initdb: %w%s: %s", err, hint, bytes.TrimSpace(out))
	}
	return nil
}

func (s *Server) data() string { return filepath.Join(s.options.Dir, "data") }

func (s *Server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, name), args...)
	cmd.Dir = s.options.Dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TZ=UTC"}
	// Its own group keeps the terminal's Ctrl-C away; SIGQUIT ends it should
	// this process die without a word.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as, Setpgid: true, Pdeathsig: syscall.SIGQUIT}
	return cmd
}

// Restart starts a server that is not running and waits until it takes
// connections.
func (s *Server) Restart(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(s.options.Dir, "postgres.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	args := []string{"-D", s.data(), "-k", s.options.Dir, "-h", ""}
	for _, setting := range s.options.Settings {
		args = append(args, "-c", setting)
	}
	cmd := s.command(context.WithoutCancel(ctx), "postgres", args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		_ = log.Close()
		return err
	}
	s.cmd, s.log, s.done = cmd, log, make(chan struct{})
	go func(done chan struct{}) {
		_ = cmd.Wait() // its exit status is in its log
		_ = log.Close()
		close(done)
	}(s.done)
	if err := s.await(ctx); err != nil {
		s.Stop()
		return fmt.Errorf("starting PostgreSQL: %w; its log is %s", err, log.Name())
	}
	return nil
}

func (s *Server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.options.StartTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, s.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-s.done:
			return errors.New("it ended at once")
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// URL is the connection URI of a database of the server, for its superuser.
func (s *Server) URL(database string) string {
	query := url.Values{"host": {s.options.Dir}, "user": {superuser}, "sslmode": {"disable"}}
	return "postgres:///" + url.PathEscape(database) + "?" + query.Encode()
}

// User is the account that the server runs as, empty when it is our own.
func (s *Server) User() string { return s.userAs }

// Stop ends the server, cutting its connections, and waits for it.
func (s *Server) Stop() { s.end(syscall.SIGINT) }

// Kill ends the server and every process of it at once, as a power cut would.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

func (s *Server) end(signal syscall.Signal) {
	family := s.processes()
	_ = syscall.Kill(s.cmd.Process.Pid, signal) // it may have ended already
	if signal == syscall.SIGKILL {
		for _, pid := range family {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	select {
	case <-s.done:
	case <-time.After(20 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.done
	}
	// While a backend is still on its way out it holds the shared memory, and
	// the next server would not start.
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline) && len(s.processes()) > 0; {
		<-tick.C
	}
}

// processes are those that work in the server's data, by Linux' /proc: each
// backend is the leader of a group of its own.
func (s *Server) processes() (pids []int) {
	data, err := filepath.EvalSymlinks(s.data())
	if err != nil {
		return nil
	}
	links, _ := filepath.Glob("/proc/[0-9]*/cwd") // the pattern is right
	for _, link := range links {
		if at, err := os.Readlink(link); err == nil && at == data {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link))); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// CreateDatabase makes a database, as a copy of the template when one is
// given, unless it exists.
func (s *Server) CreateDatabase(ctx context.Context, name, template string) error {
	return CreateDatabase(ctx, s.URL("postgres"), name, template)
}

// CreateDatabase is Server.CreateDatabase on the server that url names.
func CreateDatabase(ctx context.Context, url, name, template string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	statement := "CREATE DATABASE " + pgx.Identifier{name}.Sanitize()
	if template != "" {
		statement += " TEMPLATE " + pgx.Identifier{template}.Sanitize()
	}
	if _, err = conn.Exec(ctx, statement); err != nil && strings.Contains(err.Error(), "42P04") { // duplicate_database
		return nil
	}
	return err
}
