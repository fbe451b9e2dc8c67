package testbed

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// MasterName is what the master is called of which a Sentinel of a test knows.
const MasterName = "themaster"

// Sentinel starts one that watches the server at addr, and takes another for
// the master within a second or two of its death.
func Sentinel(t testing.TB, addr string, settings ...string) *RedisServer {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	own := freePort(t)
	file := filepath.Join(t.TempDir(), "sentinel.conf")
	lines := append([]string{
		"port " + own, "bind 127.0.0.1",
		"sentinel monitor " + MasterName + " " + host + " " + port + " 1",
		"sentinel down-after-milliseconds " + MasterName + " 500",
		"sentinel failover-timeout " + MasterName + " 2000",
	}, settings...)
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &RedisServer{Addr: "127.0.0.1:" + own, args: []string{file, "--sentinel"}}
	s.Start(t)
	t.Cleanup(s.Kill)
	return s
}

// Cluster starts a Redis Cluster of so many nodes without replicas.
func Cluster(t testing.TB, size int) []*RedisServer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
	defer cancel()
	const slots = 16384
	nodes, clients, firstBus := make([]*RedisServer, size), make([]*redis.Client, size), ""
	for i := range nodes {
		bus := freePort(t)
		nodes[i] = Redis(t, "--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", "2000")
		clients[i] = redis.NewClient(&redis.Options{Addr: nodes[i].Addr})
		t.Cleanup(func() { _ = clients[i].Close() })
		if err := clients[i].ClusterAddSlotsRange(ctx, i*slots/size, (i+1)*slots/size-1).Err(); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			firstBus = bus
			continue
		}
		host, port, _ := net.SplitHostPort(nodes[0].Addr)
		if err := clients[i].Do(ctx, "cluster", "set-config-epoch", i+1).Err(); err != nil {
			t.Fatal(err)
		}
		if err := clients[i].Do(ctx, "cluster", "meet", host, port, firstBus).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, client := range clients {
		Eventually(t, "the cluster serves", func() bool {
			info, err := client.ClusterInfo(ctx).Result()
			return err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_slots_ok:16384")
		})
	}
	return nodes
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// RedisTLS starts a server that speaks nothing but TLS, with the PEM
// certificate that its own chains to.
func RedisTLS(t testing.TB, args ...string) (*RedisServer, string) {
	t.Helper()
	certificate, ca := selfSigned(t)
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	keyFile := File(t, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	port := freePort(t)
	s := &RedisServer{Addr: "127.0.0.1:" + port, args: append([]string{
		"--port", "0", "--tls-port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", t.TempDir(),
		"--tls-cert-file", File(t, ca), "--tls-key-file", keyFile, "--tls-auth-clients", "no",
	}, args...)}
	s.Start(t)
	t.Cleanup(s.Kill)
	return s, ca
}
