package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// The network is a switch in a namespace of its own (so that no firewall rule
// of the host ever sees the traffic between nodes), one veth from it to the
// host and one to each node. No namespace has a default route: nothing that
// runs in the cluster can leave the machine.

func networkStands(ctx context.Context, l layout) bool {
	if output(ctx, "ip", "-o", "addr", "show", "dev", hostDevice) == "" {
		return false
	}
	for _, n := range l.Nodes {
		if !strings.Contains(output(ctx, "ip", "-n", n.Name, "-o", "addr", "show", "dev", "eth0"), n.IP+"/") {
			return false
		}
		if !strings.Contains(output(ctx, "ip", "route", "show", n.PodCIDR), n.IP) {
			return false
		}
	}
	return strings.Contains(output(ctx, "ip", "route", "show", serviceCIDR), l.first().IP)
}

func createNetwork(ctx context.Context, l layout) error {
	if err := refuseClash(ctx); err != nil {
		return err
	}
	steps := [][]string{
		{"ip", "netns", "add", switchNS},
		{"ip", "-n", switchNS, "link", "set", "lo", "up"},
		{"ip", "-n", switchNS, "link", "add", "br0", "type", "bridge"},
		{"ip", "-n", switchNS, "link", "set", "br0", "up"},
		{"ip", "link", "add", hostDevice, "type", "veth", "peer", "name", "host", "netns", switchNS},
		{"ip", "-n", switchNS, "link", "set", "host", "master", "br0", "up"},
		{"ip", "addr", "add", hostIP + "/24", "dev", hostDevice},
		{"ip", "link", "set", hostDevice, "up"},
	}
	for _, n := range l.Nodes {
		steps = append(steps, [][]string{
			{"ip", "netns", "add", n.Name},
			{"ip", "-n", n.Name, "link", "set", "lo", "up"},
			{"ip", "-n", switchNS, "link", "add", n.Name, "type", "veth", "peer", "name", "eth0", "netns", n.Name},
			{"ip", "-n", switchNS, "link", "set", n.Name, "master", "br0", "up"},
			{"ip", "-n", n.Name, "addr", "add", n.IP + "/24", "dev", "eth0"},
			{"ip", "-n", n.Name, "link", "set", "eth0", "up"},
			// Service addresses are rewritten by kube-proxy's rules, but only for
			// packets that have a route. A bridge without ports is one that every
			// kernel has.
			{"ip", "-n", n.Name, "link", "add", "svc0", "type", "bridge"},
			{"ip", "-n", n.Name, "link", "set", "svc0", "up"},
			{"ip", "-n", n.Name, "route", "add", serviceCIDR, "dev", "svc0", "src", n.IP},
			{"nsenter", "--net=/run/netns/" + n.Name, "--", "sh", "-c",
				"echo 1 > /proc/sys/net/ipv4/ip_forward && echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter && echo 0 > /proc/sys/net/ipv4/conf/default/rp_filter"},
			{"ip", "route", "add", n.PodCIDR, "via", n.IP},
		}...)
		for _, other := range l.Nodes {
			if other.Name != n.Name {
				steps = append(steps, []string{"ip", "-n", n.Name, "route", "add", other.PodCIDR, "via", other.IP})
			}
		}
	}
	steps = append(steps, []string{"ip", "route", "add", serviceCIDR, "via", l.first().IP})
	for _, step := range steps {
		if err := execute(ctx, step[0], step[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// deleteNetwork removes the namespaces; the veths and the host's routes go with
// them. Whoever still runs inside (a daemon whose record was lost) is ended.
func deleteNetwork(ctx context.Context) error {
	var errs []error
	for _, ns := range ourNamespaces() {
		err := endAll(ctx, "network namespace "+ns, func() []int {
			return pids(output(ctx, "ip", "netns", "pids", ns))
		})
		errs = append(errs, err, execute(ctx, "ip", "netns", "delete", ns))
	}
	// The kernel takes a namespace apart in the background; the host's end of
	// the veth would linger for a moment.
	if output(ctx, "ip", "-o", "link", "show", hostDevice) != "" {
		_ = execute(ctx, "ip", "link", "delete", hostDevice)
	}
	return errors.Join(errs...)
}

func ourNamespaces() []string {
	var names []string
	for _, pattern := range []string{"gocart-node[0-9]", switchNS} {
		found, _ := filepath.Glob("/run/netns/" + pattern)
		for _, path := range found {
			names = append(names, filepath.Base(path))
		}
	}
	return names
}

func refuseClash(ctx context.Context) error {
	var routes []hostRoute
	text := output(ctx, "ip", "-j", "-4", "route", "show", "table", "main")
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), &routes); err != nil {
		return fmt.Errorf("reading the host's routes: %w", err)
	}
	if route, ours, found := clash(routes); found {
		return fmt.Errorf("the native cluster needs %s, but this machine already routes %s to %s: use CLUSTER=kind or CLUSTER=current, or remove that route",
			ours, route.Destination, route.Device)
	}
	return nil
}

func pids(text string) []int {
	var all []int
	for _, field := range strings.Fields(text) {
		if pid, err := strconv.Atoi(field); err == nil && pid > 1 && pid != os.Getpid() {
			all = append(all, pid)
		}
	}
	return all
}

// output is what a command prints, or nothing when it does not succeed.
func output(ctx context.Context, name string, args ...string) string {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// execute runs a command and puts what it said into the error.
func execute(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
