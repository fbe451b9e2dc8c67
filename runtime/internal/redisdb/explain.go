package redisdb

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// explain classes an error of Redis in words that hold nothing of the
// connection's secrets: the server's own messages are not passed on.
func explain(err error) string {
	message := err.Error()
	for prefix, words := range map[string]string{
		"WRONGPASS":   "authentication failed",
		"NOAUTH":      "authentication failed: a password is needed",
		"NOPERM":      "permission denied: the user may not run a command that the store needs",
		"LOADING":     "the server is loading its data",
		"READONLY":    "the server is a read-only replica",
		"OOM":         "the server is out of memory",
		"MISCONF":     "the server refuses writes: it cannot save its data",
		"ERR AUTH":    "authentication failed: the server has no password set, and the URL holds one",
		"MOVED":       "the server is of a Cluster: end the URL with ?cluster=true",
		"CLUSTERDOWN": "the cluster does not serve: nodes of it are away",
		"MASTERDOWN":  "the server is a replica that has lost its master",
		"ERR This instance has cluster support disabled": "the server is of no Cluster: leave cluster=true and addr out of the URL",
		"ERR max": "the server has too many clients",
		"ERR DB":  "the database number is out of range",
	} {
		if strings.HasPrefix(message, prefix) {
			return words
		}
	}
	if strings.Contains(message, "sentinel") {
		switch {
		case errors.Is(err, redis.Nil):
			return "no sentinel knows a master of that name"
		case strings.Contains(message, "unknown command"):
			return "the server is no sentinel: leave master_name out of the URL, or name sentinels"
		}
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return "host " + dns.Name + " was not found"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "its certificate was not accepted"
	}
	if netErr, ok := errors.AsType[net.Error](err); ok && netErr.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the connection was lost"
	}
	return "unreachable"
}
