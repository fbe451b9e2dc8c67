package events_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

// TestRedisForgetsWhatWasToldWhenSomebodyIsErased has replicas hear what they
// would anyhow.
func TestRedisForgetsWhatWasToldWhenSomebodyIsErased(t *testing.T) {
	t.Parallel()
	p, server := pool(t), testbed.Redis(t)
	a, b := start(t, p, server.Addr, 100), start(t, p, server.Addr, 100)
	subject := uuid.New()
	secret := event(subject, 1)
	secret.Data = map[string]string{"text": "Zaphod called"}
	happens(t, a.log, p, secret, event(subject, 2))
	a.await(t, 2)
	b.await(t, 2)
	kept := func() string {
		all, err := a.redis.Client().XRange(t.Context(), a.redis.Key("events"), "-", "+").Result()
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		for _, m := range all {
			text.WriteString(m.Values["e"].(string))
		}
		return text.String()
	}
	testbed.Eventually(t, "Redis has it", func() bool { return strings.Contains(kept(), "Zaphod") })
	erased := event(uuid.New(), 3)
	erased.Topic, erased.Type = events.Customers, "customer.erased"
	happens(t, a.log, p, erased, event(subject, 4))
	a.await(t, 4)
	b.await(t, 4)
	testbed.Eventually(t, "Redis has what came since alone", func() bool { return strings.Contains(kept(), "customer.erased") && !strings.Contains(kept(), "Zaphod") })
	happens(t, b.log, p, event(subject, 5))
	a.await(t, 5)
	b.await(t, 5)
}
