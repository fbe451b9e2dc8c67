package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Everything that pods run is in a cgroup below /gocart, whichever version the
// machine has, so a process can be told to be the cluster's without doubt.

// cgroupRoots lists the hierarchies to use: the one of version 2, or each
// controller's of version 1.
func cgroupRoots() ([]string, error) {
	if exists("/sys/fs/cgroup/cgroup.controllers") {
		return []string{"/sys/fs/cgroup"}, nil
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	roots := cgroupMounts(string(mounts), "cgroup")
	if len(roots) == 0 {
		return nil, errors.New("no cgroup hierarchy is mounted below /sys/fs/cgroup")
	}
	return roots, nil
}

// cgroupMounts lists where hierarchies are mounted, "cgroup" being version 1 and
// "cgroup2" version 2.
func cgroupMounts(mountinfo string, kinds ...string) []string {
	var roots []string
	for line := range strings.Lines(mountinfo) {
		before, after, found := strings.Cut(line, " - ")
		fields := strings.Fields(before)
		kind, _, _ := strings.Cut(after, " ")
		if found && slices.Contains(kinds, kind) && len(fields) > 4 && !slices.Contains(roots, fields[4]) {
			roots = append(roots, fields[4])
		}
	}
	return roots
}

// ensureCgroup makes a node's cgroup; a kubelet wants its root to be there.
func ensureCgroup(n node) error {
	roots, err := cgroupRoots()
	if err != nil {
		return err
	}
	for _, root := range roots {
		dir := root
		for _, part := range strings.Split(strings.Trim(n.cgroup(), "/"), "/") {
			parent := dir
			dir = filepath.Join(dir, part)
			if err := delegate(parent); err != nil {
				return err
			}
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("making the cgroup %s: %w", dir, err)
			}
			if err := inheritCPUSet(parent, dir); err != nil {
				return err
			}
		}
		if err := delegate(dir); err != nil {
			return err
		}
		favour(filepath.Join(root, cgroupName))
	}
	return nil
}

// favour gives all pods together the weight of many processes. With that of one,
// a compiler beside the cluster starves every probe in it. A hierarchy without
// processors to share has no such file.
func favour(dir string) {
	for file, weight := range map[string]string{"cpu.shares": "32768", "cpu.weight": "3200"} {
		if path := filepath.Join(dir, file); exists(path) {
			_ = os.WriteFile(path, []byte(weight), 0o644) // a wish, not a need
		}
	}
}

// delegate gives a version 2 cgroup's children the controllers it has.
func delegate(dir string) error {
	available, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return nil // version 1
	}
	enabled, err := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(string(available)) {
		if slices.Contains(strings.Fields(string(enabled)), name) {
			continue
		}
		err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+name), 0o644)
		if err != nil && slices.Contains([]string{"cpu", "memory", "pids", "cpuset"}, name) {
			return fmt.Errorf("giving the cluster the cgroup controller %s of %s: %w", name, dir, err)
		}
	}
	return nil
}

// inheritCPUSet fills a new version 1 cpuset, which starts out empty and holds
// no process until it has processors and memory nodes.
func inheritCPUSet(parent, dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		have, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil || exists(filepath.Join(dir, "cgroup.controllers")) || len(bytes.TrimSpace(have)) > 0 {
			continue
		}
		value, err := os.ReadFile(filepath.Join(parent, file))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, file), value, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// podProcesses lists everything that runs in the cluster's cgroups.
func podProcesses() []int {
	var all []int
	for _, dir := range ourCgroups() {
		data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			continue
		}
		for _, pid := range pids(string(data)) {
			if !slices.Contains(all, pid) {
				all = append(all, pid)
			}
		}
	}
	return all
}

// ourCgroups lists the cluster's cgroups, parents before children, in every
// hierarchy: runc uses a version 2 one beside those of version 1 as well.
func ourCgroups() []string {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	var dirs []string
	for _, root := range cgroupMounts(string(mounts), "cgroup", "cgroup2") {
		_ = filepath.WalkDir(filepath.Join(root, cgroupName), func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
	}
	return dirs
}

func deleteCgroups() error {
	dirs := ourCgroups()
	slices.Reverse(dirs)
	for _, dir := range dirs {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing the cgroup %s: %w", dir, err)
		}
	}
	return nil
}
