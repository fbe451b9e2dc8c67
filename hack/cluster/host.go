package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"

	"gitee.com/captainjez/gocart/hack/internal/apt"
)

// needs are the Debian packages of the native cluster.
var needs = []apt.Need{
	{Program: "ip", Package: "iproute2"},
	{Program: "nsenter", Package: "util-linux"},
	{Program: "mount", Package: "mount"},
	{Program: "iptables", Package: "iptables"},
	{Program: "conntrack", Package: "conntrack"},
	{Program: "runc", Package: "runc"},
	{Program: "/usr/lib/cni/ptp", Package: "containernetworking-plugins"},
}

const (
	capNetAdmin    = 12
	capSysAdmin    = 21
	capSysResource = 24
)

func hasCapability(bit uint) bool {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	return capability(string(data), bit)
}

func capability(status string, bit uint) bool {
	for line := range strings.Lines(status) {
		if value, found := strings.CutPrefix(line, "CapEff:"); found {
			mask, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			return err == nil && mask>>bit&1 == 1
		}
	}
	return false
}

// footprint is what the cluster changes outside its folder, remembered so that
// "down" can put it back.
type footprint struct {
	// Absent are paths that programs of the cluster make and that were not there
	// before it.
	Absent []string `json:"absent"`
	// Namespaces says that "ip netns" had already been used: the first use mounts
	// its folder on itself.
	Namespaces bool `json:"namespaces"`
	// Tunables are kernel settings that a kubelet changes, with their old values.
	Tunables map[string]string `json:"tunables"`
}

var (
	visitedPaths = []string{
		"/run/containerd", "/run/mount", "/var/lib/cni", "/var/lib/kubelet", "/var/log/containers", "/var/log/pods",
	}
	visitedTunables = []string{
		"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
		"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
	}
)

const namespaceDir = "/run/netns"

func rememberFootprint(l layout) error {
	file := l.path("footprint.json")
	if exists(file) {
		return nil
	}
	f := footprint{Namespaces: len(mountsBelow(namespaceDir)) > 0, Tunables: map[string]string{}}
	for _, path := range visitedPaths {
		if !exists(path) {
			f.Absent = append(f.Absent, path)
		}
	}
	for _, name := range visitedTunables {
		if data, err := os.ReadFile("/proc/sys/" + name); err == nil {
			f.Tunables[name] = strings.TrimSpace(string(data))
		}
	}
	return writeJSON(file, f)
}

// restoreFootprint undoes what the cluster did to the host outside its folder.
func restoreFootprint(ctx context.Context, l layout) error {
	var f footprint
	if err := readJSON(l.path("footprint.json"), &f); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	var errs []error
	if left, err := os.ReadDir(namespaceDir); err == nil && len(left) == 0 && !f.Namespaces {
		errs = append(errs, unmountBelow(ctx, namespaceDir), os.Remove(namespaceDir))
	}
	for _, path := range f.Absent {
		if len(mountsBelow(path)) > 0 {
			errs = append(errs, fmt.Errorf("%s still holds mounts", path))
			continue
		}
		errs = append(errs, os.RemoveAll(path))
	}
	for name, old := range f.Tunables {
		if data, err := os.ReadFile("/proc/sys/" + name); err == nil && strings.TrimSpace(string(data)) != old {
			errs = append(errs, os.WriteFile("/proc/sys/"+name, []byte(old), 0o644))
		}
	}
	errs = append(errs, removeTraces(l))
	return errors.Join(errs...)
}

// removeTraces removes what the cluster left in folders it shares with others:
// links to its logs, and address leases that ended by force.
func removeTraces(l layout) error {
	links, _ := filepath.Glob("/var/log/containers/*.log")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, l.State+"/") {
			if err := os.Remove(link); err != nil {
				return err
			}
		}
	}
	leases, _ := filepath.Glob("/var/lib/cni/results/gocart-node[0-9]-*")
	for _, lease := range leases {
		if err := os.Remove(lease); err != nil {
			return err
		}
	}
	return nil
}

// unmountBelow unmounts everything below dir, the innermost first.
func unmountBelow(ctx context.Context, dir string) error {
	mounts := mountsBelow(dir)
	sort.Slice(mounts, func(i, j int) bool { return len(mounts[i]) > len(mounts[j]) })
	for _, mount := range mounts {
		// One that went in the meantime is as good; what stays is seen below.
		_ = execute(ctx, "umount", "--lazy", mount)
	}
	if left := mountsBelow(dir); len(left) > 0 {
		return fmt.Errorf("still mounted: %s", strings.Join(left, " "))
	}
	return nil
}

func mountsBelow(dir string) []string {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	return mountPoints(string(data), dir)
}

// mountPoints reads proc_pid_mountinfo(5), which escapes spaces as \040.
func mountPoints(mountinfo, dir string) []string {
	var points []string
	for line := range strings.Lines(mountinfo) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		point := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(fields[4])
		if point == dir || strings.HasPrefix(point, dir+"/") {
			points = append(points, point)
		}
	}
	return points
}

// shims lists the containerd shims of the cluster: their command line names a
// socket below its folder.
func shims(l layout) []int {
	var found []int
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		args := strings.Split(string(data), "\x00")
		if filepath.Base(args[0]) != "containerd-shim-runc-v2" {
			continue
		}
		for _, arg := range args {
			if strings.HasPrefix(arg, l.State+"/") && strings.HasSuffix(arg, "containerd.sock") {
				if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
					found = append(found, pid)
				}
				break
			}
		}
	}
	return found
}

// lockFile keeps two commands from changing the machine's one native cluster at
// once.
const lockFile = "/run/gocart-cluster.lock"

func lockCluster() (func(), error) {
	for {
		file, err := os.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		if syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
			fmt.Fprintln(os.Stderr, "waiting for another command that is changing the cluster ...")
			if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
				return nil, errors.Join(err, file.Close())
			}
		}
		// "down" removes the file while it holds it.
		ours, err := file.Stat()
		current, currentErr := os.Stat(lockFile)
		if err == nil && currentErr == nil && os.SameFile(ours, current) {
			return func() { file.Close() }, nil
		}
		file.Close()
	}
}

func readJSON(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}
