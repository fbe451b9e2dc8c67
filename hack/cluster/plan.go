package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
)

// Addresses of the native cluster. All of them are private ranges that exist
// only inside the cluster's network namespaces and in the host's routes.
const (
	hostIP      = "10.200.0.1"
	nodeCIDR    = "10.200.0.0/24"
	podCIDR     = "10.244.0.0/16"
	serviceCIDR = "10.96.0.0/16"
	apiService  = "10.96.0.1"
	dnsService  = "10.96.0.10"
	domain      = "cluster.local"

	hostDevice    = "gocart0"
	switchNS      = "gocart-net"
	maxNodes      = 3
	cgroupName    = "gocart"
	apiServerPort = 6443
)

// node is one machine of the cluster: a network namespace with a container
// runtime, a kubelet and a proxy of its own.
type node struct {
	Name    string // of the Kubernetes node and of its network namespace
	IP      string
	PodCIDR string
	Dir     string // everything the node keeps
}

// layout is what follows from the number of nodes and the state folder alone.
type layout struct {
	State string
	Nodes []node
}

func newLayout(state string, nodes int) (layout, error) {
	if nodes < 1 || nodes > maxNodes {
		return layout{}, fmt.Errorf("NODES is %d; 1 to %d can be had", nodes, maxNodes)
	}
	l := layout{State: state}
	for i := 1; i <= nodes; i++ {
		name := fmt.Sprintf("gocart-node%d", i)
		l.Nodes = append(l.Nodes, node{
			Name:    name,
			IP:      fmt.Sprintf("10.200.0.%d", i+1),
			PodCIDR: fmt.Sprintf("10.244.%d.0/24", i),
			Dir:     filepath.Join(state, name),
		})
	}
	return l, nil
}

// first is the node that also runs the control plane.
func (l layout) first() node { return l.Nodes[0] }

func (l layout) server() string {
	return "https://" + l.first().IP + ":" + strconv.Itoa(apiServerPort)
}

func (l layout) path(elements ...string) string {
	return filepath.Join(append([]string{l.State}, elements...)...)
}

func (l layout) kubeconfig() string     { return l.path("kubeconfig") }
func (l layout) pki(name string) string { return l.path("pki", name) }

func (n node) path(elements ...string) string {
	return filepath.Join(append([]string{n.Dir}, elements...)...)
}

func (n node) containerdSocket() string { return n.path("containerd.sock") }
func (n node) cgroup() string           { return "/" + cgroupName + "/" + n.Name }

// gateway is the address that the node's end of every pod's veth carries.
func (n node) gateway() string {
	return netip.MustParsePrefix(n.PodCIDR).Addr().Next().String()
}

// stateDir is where the cluster lives between commands.
func stateDir() (string, error) {
	if dir := os.Getenv("GOCART_CLUSTER_STATE"); dir != "" {
		return filepath.Abs(dir)
	}
	return "/var/lib/gocart/cluster", nil
}

// wantedNodes reads NODES; 0 means the caller does not mind.
func wantedNodes() (int, error) {
	text := os.Getenv("NODES")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxNodes {
		return 0, fmt.Errorf("NODES is %q; it has to be a number from 1 to %d", text, maxNodes)
	}
	return n, nil
}

// clash returns the first of routes (destination and device) that overlaps one
// of the cluster's ranges and is not the cluster's own.
func clash(routes []hostRoute) (hostRoute, string, bool) {
	for _, route := range routes {
		if route.Device == hostDevice {
			continue
		}
		have, err := parseDestination(route.Destination)
		if err != nil || have.Bits() == 0 { // the default route is no clash
			continue
		}
		for _, ours := range []string{nodeCIDR, podCIDR, serviceCIDR} {
			if have.Overlaps(netip.MustParsePrefix(ours)) && !wider(have, netip.MustParsePrefix(ours)) {
				return route, ours, true
			}
		}
	}
	return hostRoute{}, "", false
}

type hostRoute struct {
	Destination string `json:"dst"`
	Device      string `json:"dev"`
}

func parseDestination(text string) (netip.Prefix, error) {
	if text == "default" {
		return netip.MustParsePrefix("0.0.0.0/0"), nil
	}
	if addr, err := netip.ParseAddr(text); err == nil {
		return addr.Prefix(addr.BitLen())
	}
	return netip.ParsePrefix(text)
}

// wider says whether a route merely contains our range (a company's 10.0.0.0/8):
// our more specific one wins and nothing of theirs is lost but addresses that
// we take.
func wider(have, ours netip.Prefix) bool {
	return have.Bits() < ours.Bits()
}
