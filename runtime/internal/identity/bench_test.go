package identity

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// BenchmarkASession is why sessions are looked up in PostgreSQL: one statement
// costs about as much as to ask Redis, which would have to be asked besides
// wherever it might have forgotten that a session ended.
func BenchmarkASession(b *testing.B) {
	pool, c := testbed.Pools(b).Main, configuration(b)
	a := NewAuthenticator(c, pool, NewKeys(c), (&testbed.Log{}).Logger(), at(noon))
	customerID, sessionID := signIn(b, pool, openapi.RoleCustomer, noon.Add(time.Hour))
	exec(b, pool, "ANALYZE sessions, customers")
	b.Run("PostgreSQL", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := a.inSession(b.Context(), customerID, sessionID, noon, noon); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
	b.Run("Redis", func(b *testing.B) {
		client := redis.NewClient(&redis.Options{Addr: testbed.Redis(b).Addr})
		defer func() { _ = client.Close() }()
		if err := client.Set(b.Context(), sessionID.String(), "customer", 0).Err(); err != nil {
			b.Fatal(err)
		}
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := client.Get(b.Context(), sessionID.String()).Err(); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}
