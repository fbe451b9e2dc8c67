package customer_test

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/jobs"
	"gitee.com/captainjez/gocart/runtime/internal/mail"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

func TestWhoRegistersIsMailedATokenThatConfirmsTheAddress(t *testing.T) {
	t.Parallel()
	server := testbed.SMTP(t, testbed.SMTPRules{})
	s := newShop(t, func(c *config.Config) {
		c.Mail.URLFile, c.Mail.CAFile = testbed.File(t, "smtp://"+server.Addr), testbed.File(t, server.CA)
	})
	delivery, err := mail.Delivery(s.config, mail.Options{Pool: s.pool, Tokens: s.customers, Log: s.log.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	worker := jobs.NewWorker(s.config, jobs.Options{
		Pool: s.pool, Kinds: jobs.Kinds{delivery}, Queue: s.queue, Log: s.log.Logger(), Metrics: prometheus.NewRegistry(), Now: s.now,
	})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := worker.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	defer wg.Wait()
	defer cancel()

	ada := s.join("ada@example.com").AccessToken
	testbed.Eventually(t, "the mail is there", func() bool { return len(server.Mails()) == 1 })
	token := regexp.MustCompile(`(?m)^[A-Za-z0-9_-]{43}$`).FindString(server.Mails()[0])
	if token == "" {
		t.Fatalf("no token in %s", server.Mails()[0])
	}
	s.want(http.StatusNoContent, "", "POST", "/auth/verify-email", fmt.Sprintf(`{"token":%q}`, token))
	if me := decode[openapi.Customer](t, s.want(http.StatusOK, ada, "GET", "/me", "")); !me.EmailVerified {
		t.Errorf("%+v", me)
	}
}
