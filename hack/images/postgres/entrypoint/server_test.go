package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// nobody runs the server when the tests run as root, which PostgreSQL refuses.
const nobody = 65534

// container is the entrypoint with the machine's own PostgreSQL and a folder
// for PGDATA, as a Pod would have it.
type container struct {
	t          *testing.T
	entrypoint string
	folder     string
	port       int
	env        []string
}

func newContainer(t *testing.T) *container {
	t.Helper()
	bin := postgresBin(t)
	folder, err := os.MkdirTemp("", "postgres-entrypoint-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	entrypoint := filepath.Join(folder, "entrypoint")
	if out, err := exec.Command("go", "build", "-o", entrypoint, ".").CombinedOutput(); err != nil {
		t.Fatalf("building the entrypoint: %v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(folder, "password"), []byte("it's a s3cret\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	volume := filepath.Join(folder, "volume")
	if err := os.Mkdir(volume, 0o755); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		for _, dir := range []string{folder, volume} {
			if err := os.Chown(dir, nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
	}
	return &container{
		t: t, entrypoint: entrypoint, folder: folder, port: freePort(t),
		env: []string{
			"PATH=" + bin + ":/usr/bin:/bin",
			"LANG=C.UTF-8",
			"PGDATA=" + filepath.Join(volume, "pgdata"),
			"POSTGRES_USER=shop",
			"POSTGRES_DB=My Orders",
			"POSTGRES_PASSWORD_FILE=" + filepath.Join(folder, "password"),
			"POSTGRES_INITDB_ARGS=--no-sync --lc-collate='C'",
		},
	}
}

func postgresBin(t *testing.T) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		t.Fatal("no PostgreSQL on this machine: apt-get install postgresql")
	}
	return filepath.Dir(found[len(found)-1])
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (c *container) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = c.folder
	cmd.Env = c.env
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return cmd
}

// log collects what the container prints.
type log struct {
	sync.Mutex
	bytes.Buffer
}

func (l *log) Write(data []byte) (int, error) {
	l.Lock()
	defer l.Unlock()
	return l.Buffer.Write(data)
}

func (l *log) String() string {
	l.Lock()
	defer l.Unlock()
	return l.Buffer.String()
}

// process is a container that runs.
type process struct {
	*os.Process
	said  *log
	ended chan struct{} // closed at the end
	err   error         // of the end
}

func (c *container) start() *process {
	c.t.Helper()
	cmd := c.command(c.entrypoint, "-p", strconv.Itoa(c.port), "-c", "unix_socket_directories="+c.folder, "-c", "fsync=off", "-c", "shared_buffers=16MB")
	said := &log{}
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	p := &process{Process: cmd.Process, said: said, ended: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	c.t.Cleanup(func() {
		p.Kill() // an error means that it has ended
		<-p.ended
	})
	return p
}

// query asks over TCP.
func (c *container) query(password, sql string) (string, error) {
	cmd := c.command("psql", "-X", "-w", "-At", "-h", "127.0.0.1", "-p", strconv.Itoa(c.port), "-U", "shop", "-d", "My Orders", "-c", sql)
	for _, dir := range filepath.SplitList(strings.TrimPrefix(c.env[0], "PATH=")) {
		if at := filepath.Join(dir, "psql"); fileExists(at) {
			cmd.Path, cmd.Err = at, nil
			break
		}
	}
	cmd.Env = append(c.env, "PGPASSWORD="+password)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func fileExists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

func (c *container) waitReady(p *process) {
	c.t.Helper()
	limit := time.After(60 * time.Second)
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		if _, err := c.query("it's a s3cret", "SELECT 1"); err == nil {
			return
		}
		select {
		case <-limit:
			c.t.Fatalf("the server is not ready after a minute:\n%s", p.said)
		case <-p.ended:
			c.t.Fatalf("the server ended with %v:\n%s", p.err, p.said)
		case <-poll.C:
		}
	}
}

func (c *container) stop(p *process, signal os.Signal) {
	c.t.Helper()
	if err := p.Signal(signal); err != nil {
		c.t.Fatal(err)
	}
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		c.t.Fatalf("the server still runs a minute after %v:\n%s", signal, p.said)
	}
	if p.err != nil {
		c.t.Errorf("the server ended with %v:\n%s", p.err, p.said)
	}
	if !strings.Contains(p.said.String(), "database system is shut down") {
		c.t.Errorf("the server did not shut down cleanly:\n%s", p.said)
	}
}

func TestADatabaseIsMadeOnceAndKept(t *testing.T) {
	c := newContainer(t)
	first := c.start()
	c.waitReady(first)
	if rules, err := os.ReadFile(filepath.Join(c.folder, "volume/pgdata/pg_hba.conf")); err != nil || !strings.HasSuffix(string(rules), "\nhost all all all scram-sha-256\n") {
		t.Errorf("other hosts are not held to a password: %v\n%s", err, rules)
	}
	for sql, want := range map[string]string{
		"SHOW listen_addresses": "*",
		"SELECT current_user || ' ' || rolsuper FROM pg_roles WHERE rolname = current_user": "shop true",
		"SELECT datcollate FROM pg_database WHERE datname = 'My Orders'":                    "C",
		"SELECT rolpassword LIKE 'SCRAM-SHA-256$%' FROM pg_authid WHERE rolname = 'shop'":   "t",
	} {
		if got, err := c.query("it's a s3cret", sql); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", sql, got, err, want)
		}
	}
	if _, err := c.query("it's a s3cret", "CREATE TABLE kept AS SELECT 42 AS answer"); err != nil {
		t.Fatal(err)
	}
	// The image's STOPSIGNAL: clients are cut off, nothing is lost.
	c.stop(first, syscall.SIGINT)

	second := c.start()
	c.waitReady(second)
	if got, err := c.query("it's a s3cret", "SELECT answer FROM kept"); err != nil || got != "42" {
		t.Errorf("after a restart the table has %q, %v", got, err)
	}
	if !strings.Contains(second.said.String(), "PGDATA holds a database") {
		t.Errorf("the second start does not say that it kept the data:\n%s", second.said)
	}
	c.stop(second, syscall.SIGTERM)
}

func TestAFirstStartThatWasKilledBeginsAgain(t *testing.T) {
	c := newContainer(t)
	// What a kill in the middle of initdb leaves.
	data := filepath.Join(c.folder, "volume", "pgdata")
	if out, err := c.command("/bin/sh", "-c", fmt.Sprintf("mkdir -m 700 %[1]s && echo 15 > %[1]s/PG_VERSION && touch %[2]s", data, newMarker(data))).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p := c.start()
	c.waitReady(p)
	if !strings.Contains(p.said.String(), "beginning again") {
		t.Errorf("nothing is said about the start that was cut short:\n%s", p.said)
	}
	if fileExists(string(newMarker(data))) {
		t.Error("the marker of the first start is still there")
	}
	c.stop(p, syscall.SIGINT)
}

func TestNoPasswordIsRefusedBeforeAnythingIsMade(t *testing.T) {
	c := newContainer(t)
	c.env = c.env[:len(c.env)-2] // neither password nor initdb arguments
	p := c.start()
	if <-p.ended; p.err == nil {
		t.Error("the container started without a password")
	}
	if !strings.Contains(p.said.String(), "POSTGRES_PASSWORD") {
		t.Errorf("the error does not name the variable:\n%s", p.said)
	}
	if fileExists(filepath.Join(c.folder, "volume/pgdata/PG_VERSION")) {
		t.Error("a database was made")
	}
}
