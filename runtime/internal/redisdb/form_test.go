package redisdb_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/redisdb"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

func TestSentinelsTellWhichServerIsTheMaster(t *testing.T) {
	t.Parallel()
	acl := []string{"--requirepass", "MASTERSECRET", "--masterauth", "MASTERSECRET"}
	master := testbed.Redis(t, acl...)
	host, port, _ := net.SplitHostPort(master.Addr)
	testbed.Redis(t, append(acl, "--replicaof", host+" "+port)...)
	sentinel := testbed.Sentinel(t, master.Addr, "requirepass SENTINELSECRET", "sentinel auth-pass "+testbed.MasterName+" MASTERSECRET")
	seer := redis.NewSentinelClient(&redis.Options{Addr: sentinel.Addr, Password: "SENTINELSECRET"})
	defer func() { _ = seer.Close() }()
	testbed.Eventually(t, "the sentinel knows the replica", func() bool {
		replicas, err := seer.Replicas(t.Context(), testbed.MasterName).Result()
		return err == nil && len(replicas) == 1 && replicas[0]["master-link-status"] == "ok"
	})
	var log testbed.Log
	r := open(t, "redis://:SENTINELSECRET@"+sentinel.Addr+"/0?master_name="+testbed.MasterName+"&password=MASTERSECRET&addr=127.0.0.1:1", &log)
	run(t, r)
	testbed.Eventually(t, "Redis is in use", r.Up)
	if err := r.Client().Set(t.Context(), r.Key("a"), "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	master.Kill()
	testbed.Eventually(t, "the store notices", func() bool {
		ctx := t.Context()
		if err := r.Client().Set(ctx, r.Key("b"), "1", 0).Err(); err != nil {
			r.Failed(ctx, err)
		}
		return !r.Up()
	})
	testbed.Eventually(t, "the store uses the new master", func() bool {
		return r.Up() && r.Client().Set(t.Context(), r.Key("b"), "1", 0).Err() == nil
	})
	if strings.Contains(log.String(), "SECRET") {
		t.Error(log.String())
	}
}

func TestAClusterIsUsedThroughAnyOfItsNodes(t *testing.T) {
	t.Parallel()
	nodes := testbed.Cluster(t, 3)
	for name, url := range map[string]string{
		"one node":  "redis://" + nodes[1].Addr + "?cluster=true",
		"two nodes": "redis://127.0.0.1:1/0?addr=" + nodes[2].Addr + "&cluster=true",
		"by addr":   "redis://" + nodes[0].Addr + "?addr=" + nodes[1].Addr,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := open(t, url, &testbed.Log{})
			run(t, r)
			testbed.Eventually(t, "Redis is in use", r.Up)
			if err := r.Client().MSet(t.Context(), r.Key("a"), "1", r.Key("b"), "2").Err(); err != nil {
				t.Fatal(err)
			}
			if s := r.Status(); !s.Reachable || s.Version == "" {
				t.Errorf("got %+v", s)
			}
		})
	}
}

func TestAServerIsReachedAsAUserOverTLS(t *testing.T) {
	t.Parallel()
	server, ca := testbed.RedisTLS(t, "--user", "default", "off",
		"--user", "shop", "on", ">USERSECRET", "~{ns/shop}:*", "&{ns/shop}:*", "+@all", "-@dangerous")
	open := func(url, ca string) (*redisdb.Redis, *testbed.Log) {
		var log testbed.Log
		c := config.Redis{URLFile: testbed.File(t, url)}
		if ca != "" {
			c.CAFile = testbed.File(t, ca)
		}
		r, err := redisdb.Open(c, config.Store{Name: "shop", Namespace: "ns"}, log.Logger(), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		run(t, r)
		return r, &log
	}
	r, _ := open("rediss://shop:USERSECRET@"+server.Addr, ca)
	testbed.Eventually(t, "Redis is in use", r.Up)
	r, _ = open("rediss://shop:USERSECRET@"+server.Addr, "")
	testbed.Eventually(t, "an unknown certificate is refused", func() bool { return r.Status().Error == "its certificate was not accepted" })
	r, log := open("rediss://shop:WRONGSECRET@"+server.Addr, ca)
	testbed.Eventually(t, "a wrong password is refused", func() bool { return r.Status().Error == "authentication failed" })
	if strings.Contains(log.String(), "SECRET") {
		t.Error(log.String())
	}
}

func TestAURLOfTheWrongFormIsExplainedInTheStatus(t *testing.T) {
	t.Parallel()
	plain, node := testbed.Redis(t).Addr, testbed.Cluster(t, 2)
	sentinel := testbed.Sentinel(t, plain).Addr
	other := node[0].Addr
	probe := redis.NewClient(&redis.Options{Addr: other})
	defer func() { _ = probe.Close() }()
	if errors.Is(probe.Get(t.Context(), "{ns/shop}:x").Err(), redis.Nil) { // it is the one that has the store's keys
		other = node[1].Addr
	}
	for name, tt := range map[string]struct{ url, want string }{
		"a Cluster that is one server":     {"redis://" + plain + "?cluster=true", "the server is of no Cluster: leave cluster=true and addr out of the URL"},
		"a server that is of a Cluster":    {"redis://" + other, "the server is of a Cluster: end the URL with ?cluster=true"},
		"a sentinel that is a server":      {"redis://" + plain + "?master_name=x", "the server is no sentinel: leave master_name out of the URL, or name sentinels"},
		"a master that no sentinel knows":  {"redis://" + sentinel + "?master_name=x", "no sentinel knows a master of that name"},
		"a server that is not there":       {"redis://127.0.0.1:1", "connection refused"},
		"sentinels that are not there":     {"redis://127.0.0.1:1?master_name=x", "connection refused"},
		"nodes of a Cluster that are away": {"redis://127.0.0.1:1?cluster=true", "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := open(t, tt.url, &testbed.Log{})
			r.OnReturn(func(ctx context.Context) error { return r.Client().Set(ctx, r.Key("x"), "", 0).Err() })
			run(t, r)
			testbed.Eventually(t, tt.want, func() bool { return r.Status().Error == tt.want })
		})
	}
}

func TestAURLThatCanNotBeUsedIsRefusedWithoutItsPassword(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"http://:SECRET@h":                                    "holds no URL of the form redis://",
		"redis://:SECRET@h?SECRET=1":                          "holds no URL of the form redis://",
		"redis://:SECRET%zz@h":                                "holds no URL",
		"redis://:SECRET@h?master_name=":                      "holds no URL of the form redis://sentinel",
		"redis://:SECRET@h?master_name=m&addr=SECRET":         "holds no URL of the form redis://sentinel",
		"redis://:SECRET@h/1?cluster=true":                    "a Cluster has the database 0 only",
		"redis://:SECRET@h?cluster=yes":                       "cluster must be true",
		"redis://:SECRET@h?cluster=true&master_name=SECRET":   "both master_name",
		"redis://:SECRET@h?cluster=true&addr=SECRET":          "holds no URL of the form redis://user:password@node",
		"redis://:SECRET@h?cluster=true&read_only=true":       "asks for read_only",
		"redis://:SECRET@h?master_name=m&replica_only=SECRET": "asks for replica_only",
	} {
		c := config.Redis{URLFile: testbed.File(t, url)}
		_, err := redisdb.Open(c, config.Store{}, (&testbed.Log{}).Logger(), prometheus.NewRegistry())
		if err == nil || strings.Contains(err.Error(), "SECRET") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", url, err)
		}
	}
}
