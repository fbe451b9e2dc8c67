package main

import (
	"errors"
	"strings"
	"testing"
)

func TestCommandFollowsTheOfficialImage(t *testing.T) {
	files := map[string]string{
		"/etc/redis.conf":  "appendonly yes\n",
		"/etc/closed.conf": "bind *\nProtected-Mode yes\n",
	}
	read := func(name string) ([]byte, error) {
		if text, ok := files[name]; ok {
			return []byte(text), nil
		}
		return nil, errors.New("no such file")
	}
	for name, test := range map[string]struct{ args, want string }{
		"nothing starts the server":                     {"", "redis-server --protected-mode no"},
		"options go to the server":                      {"--appendonly yes", "redis-server --appendonly yes --protected-mode no"},
		"a file goes to the server":                     {"/etc/redis.conf --port 1", "redis-server /etc/redis.conf --port 1 --protected-mode no"},
		"a file that sets protected mode decides":       {"/etc/closed.conf", "redis-server /etc/closed.conf"},
		"an option that sets protected mode decides":    {"redis-server --protected-mode yes", "redis-server --protected-mode yes"},
		"the server by name gets the same":              {"redis-server /etc/redis.conf", "redis-server /etc/redis.conf --protected-mode no"},
		"another command is left alone":                 {"redis-cli ping", "redis-cli ping"},
		"asking for the version starts no server":       {"--version", "redis-server --version"},
		"a file that is not there is for Redis to tell": {"/etc/none.conf", "redis-server /etc/none.conf --protected-mode no"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(command(strings.Fields(test.args), read), " "); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
