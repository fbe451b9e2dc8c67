package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// daemon is a long-running program of the cluster.
type daemon struct {
	name      string
	program   string
	args      []string
	namespace string   // network namespace it runs in
	reads     []string // files whose change means a restart
	env       []string
}

// record identifies a started daemon for good: a pid alone can be reused, a pid
// with its start time in one boot cannot.
type record struct {
	Name    string   `json:"name"`
	PID     int      `json:"pid"`
	Start   uint64   `json:"start"` // clock ticks since boot
	Boot    string   `json:"boot"`
	Hash    string   `json:"hash"` // of program, arguments and the files it reads
	Command []string `json:"command"`
}

// processes starts, finds and ends the cluster's daemons by their records.
type processes struct {
	records string
	logs    string
}

func newProcesses(l layout) processes {
	return processes{records: l.path("run"), logs: l.path("logs")}
}

// ensure starts d unless it already runs just so. It says whether it did.
func (p processes) ensure(ctx context.Context, d daemon) (bool, error) {
	hash, err := d.hash()
	if err != nil {
		return false, err
	}
	r, err := p.load(d.name)
	switch {
	case err == nil && r.alive() && r.Hash == hash:
		return false, nil
	case err == nil && r.alive():
		if err := p.stop(ctx, d.name); err != nil {
			return false, err
		}
	}
	return true, p.start(d, hash)
}

func (p processes) start(d daemon, hash string) error {
	for _, dir := range []string{p.records, p.logs} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	log, err := os.OpenFile(p.log(d.name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	// nsenter, not "ip netns exec", which hides /sys/fs/cgroup. It execs, so the
	// pid is the daemon's.
	command := append([]string{"nsenter", "--net=/run/netns/" + d.namespace, "--", d.program}, d.args...)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), d.env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", d.name, err)
	}
	// A cluster brought up from a low-priority shell is not to stay slow.
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, cmd.Process.Pid, 0)
	status, err := readStat(cmd.Process.Pid)
	if err != nil {
		return fmt.Errorf("starting %s: %w", d.name, err)
	}
	r := record{Name: d.name, PID: cmd.Process.Pid, Start: status.start, Boot: bootID(), Hash: hash, Command: command[3:]}
	go cmd.Wait() // reaps it should it end while we run
	return writeJSON(p.file(d.name), r)
}

// stop ends daemons, all at once: politely, then after ten seconds by force.
func (p processes) stop(ctx context.Context, names ...string) error {
	var alive []record
	for _, name := range names {
		r, err := p.load(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		alive = append(alive, r)
	}
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		alive = slices.DeleteFunc(alive, func(r record) bool { return !r.alive() })
		for _, r := range alive {
			if err := syscall.Kill(r.PID, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("ending %s (pid %d): %w", r.Name, r.PID, err)
			}
		}
		_ = poll(ctx, 10*time.Second, func() error {
			if slices.ContainsFunc(alive, record.alive) {
				return errors.New("still running")
			}
			return nil
		})
	}
	for _, r := range alive {
		if r.alive() {
			return fmt.Errorf("%s (pid %d) does not end", r.Name, r.PID)
		}
	}
	for _, name := range names {
		if err := os.Remove(p.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (p processes) file(name string) string { return filepath.Join(p.records, name+".json") }

func (p processes) load(name string) (record, error) {
	var r record
	data, err := os.ReadFile(p.file(name))
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(data, &r)
}

// all returns every recorded daemon.
func (p processes) all() ([]record, error) {
	files, err := filepath.Glob(filepath.Join(p.records, "*.json"))
	if err != nil {
		return nil, err
	}
	var all []record
	for _, file := range files {
		r, err := p.load(strings.TrimSuffix(filepath.Base(file), ".json"))
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

func (p processes) log(name string) string { return filepath.Join(p.logs, name+".log") }

// lastWords is the end of a daemon's log, for errors.
func (p processes) lastWords(name string) string {
	data, err := os.ReadFile(p.log(name))
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

func (r record) alive() bool {
	if r.PID <= 0 || r.Boot != bootID() {
		return false
	}
	s, err := readStat(r.PID)
	return err == nil && s.start == r.Start && s.state != 'Z' && s.state != 'X'
}

func (d daemon) hash() (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %q\n", d.program, d.args, d.namespace, d.env)
	for _, file := range d.reads {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n", file, len(data))
		h.Write(data)
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

type stat struct {
	state byte
	start uint64
}

func readStat(pid int) (stat, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return stat{}, err
	}
	return parseStat(data)
}

// parseStat reads proc_pid_stat(5): the second field is the program's name in
// brackets and may hold anything, so counting starts after the last bracket.
func parseStat(data []byte) (stat, error) {
	end := bytes.LastIndexByte(data, ')')
	if end < 0 {
		return stat{}, errors.New("no program name in stat")
	}
	fields := strings.Fields(string(data[end+1:]))
	const startField = 22 - 3 // starttime is field 22; state is the third
	if len(fields) <= startField {
		return stat{}, errors.New("stat is too short")
	}
	start, err := strconv.ParseUint(fields[startField], 10, 64)
	return stat{state: fields[0][0], start: start}, err
}

func bootID() string {
	data, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(data))
}

// poll asks until check answers nil, the limit is over or ctx ends; it returns
// the last answer.
func poll(ctx context.Context, limit time.Duration, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// endAll kills the pids that list returns until it returns none.
func endAll(ctx context.Context, what string, list func() []int) error {
	return poll(ctx, 20*time.Second, func() error {
		pids := list()
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if len(pids) > 0 {
			return fmt.Errorf("%d processes of %s do not end: %v", len(pids), what, pids)
		}
		return nil
	})
}

func writeJSON(path string, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(path, append(data, '\n'), 0o600)
}

// writeFile replaces a file in one step and leaves it alone when it already
// holds data.
func writeFile(path string, data []byte, mode fs.FileMode) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	partial := path + ".partial"
	if err := os.WriteFile(partial, data, mode); err != nil {
		return err
	}
	return os.Rename(partial, path)
}
