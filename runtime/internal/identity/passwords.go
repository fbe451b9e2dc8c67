package identity

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"

	"gitee.com/captainjez/gocart/runtime/internal/problem"
)

// OWASP's second choice for Argon2id: 19 MiB, two passes, one lane.
var present = cost{memory: 19 * 1024, time: 2, threads: 1}

// hashesAtOnce bounds the memory that a flood of log-ins takes.
const hashesAtOnce = 2

const (
	saltBytes = 16
	hashBytes = 32
)

// cost is what one Argon2id hash takes: KiB, passes, lanes.
type cost struct {
	memory, time uint32
	threads      uint8
}

// Passwords hashes passwords with Argon2id (RFC 9106), a few at once.
type Passwords struct{ slots chan struct{} }

// NewPasswords makes the one Passwords of a process.
func NewPasswords() *Passwords { return &Passwords{slots: make(chan struct{}, hashesAtOnce)} }

// Hash is a PHC string to store. Its only errors are those of ctx, which may
// end before there is a slot; for a deadline that is a *problem.Problem.
func (p *Passwords) Hash(ctx context.Context, password string) (string, error) {
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // it never fails
	key, err := p.derive(ctx, password, salt, present, hashBytes)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, present.memory, present.time, present.threads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key)), nil
}

// Check reports whether a hash is of the password, and whether it should be
// made anew because it was made at another cost. An empty hash is of no
// password, and takes as long to say so.
func (p *Passwords) Check(ctx context.Context, hash, password string) (ok, stale bool, err error) {
	if hash == "" {
		_, err := p.derive(ctx, password, make([]byte, saltBytes), present, hashBytes)
		return false, false, err
	}
	c, salt, want, err := parseHash(hash)
	if err != nil {
		return false, false, err
	}
	got, err := p.derive(ctx, password, salt, c, uint32(len(want)))
	if err != nil {
		return false, false, err
	}
	return subtle.ConstantTimeCompare(got, want) == 1, c != present, nil
}

func (p *Passwords) derive(ctx context.Context, password string, salt []byte, c cost, size uint32) ([]byte, error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			busy := problem.New(http.StatusServiceUnavailable, "busy", "Too many are signing in right now. Please try again.")
			busy.RetryAfter = 2 * time.Second
			return nil, busy
		}
		return nil, ctx.Err()
	}
	defer func() { <-p.slots }()
	return argon2.IDKey([]byte(password), salt, c.time, c.memory, c.threads, size), nil
}

// parseHash reads what Hash writes, at any cost up to 1 GiB and 100 passes.
func parseHash(hash string) (c cost, salt, key []byte, err error) {
	broken := errors.New("a password's hash is not an Argon2id PHC string")
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return c, nil, nil, broken
	}
	n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &c.memory, &c.time, &c.threads)
	if err != nil || n != 3 || c.memory > 1<<20 || c.time < 1 || c.time > 100 || c.threads < 1 {
		return c, nil, nil, broken
	}
	salt, err = base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil || len(salt) < 8 || len(salt) > 64 {
		return c, nil, nil, broken
	}
	key, err = base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil || len(key) < 16 || len(key) > 64 {
		return c, nil, nil, broken
	}
	return c, salt, key, nil
}
