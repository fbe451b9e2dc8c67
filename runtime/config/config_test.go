package config

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

func valid() Config {
	c := Default()
	c.Store = Store{Mode: ModeProduction, Locale: "en", Name: "demo", Namespace: "shop", URL: "https://shop.example.com", Domains: []string{"shop.example.com"}}
	c.Database.URIFile = "/etc/gocart/database/uri"
	return c
}

func TestTheSamplesOfTheReferenceAreRead(t *testing.T) {
	t.Parallel()
	c, err := Load("sample.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if c.Payments.Stripe == nil || c.Server.Public.TLS == nil || c.EdgeFile == "" {
		t.Errorf("%+v", c)
	}
	raw, err := os.ReadFile("sample-edge.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseEdge(raw); err != nil {
		t.Error(err)
	}
}

func TestARenderedConfigurationIsReadBackAsItWas(t *testing.T) {
	t.Parallel()
	changed := valid()
	changed.Server.Public.TLS = &TLS{Address: ":8443", CertFile: "c", KeyFile: "k", MinVersion: "1.2"}
	changed.EdgeFile = "e"
	changed.Cache = Cache{Enabled: false, TTL: Duration(90 * time.Second)}
	changed.Worker = Worker{Workers: 3, Concurrency: 7, Queues: []string{"low"}}
	changed.Redis = &Redis{URLFile: "u"}
	changed.Store.Mode, changed.Store.Locale = ModeDevelopment, "pt-BR"
	changed.Auth = Auth{AdminKeyFile: "a", TokenKeyFile: "t"}
	changed.Mail = &Mail{URLFile: "u", CAFile: "c", From: "Shop <shop@example.com>", Staff: []string{"ops@example.com"}, Timeout: Duration(time.Second)}
	changed.Reports = &Reports{Dir: "/reports"}
	changed.Carts.ReminderAfter = 0
	changed.Payments = Payments{Test: true, ReconcileWindow: Duration(time.Hour), Stripe: &Stripe{
		APIKeyFile: "k", WebhookSecretFiles: []string{"a", "b"}, PublishableKey: "pk_test_1", APIBase: "http://127.0.0.1",
	}}
	for name, c := range map[string]Config{"with defaults": valid(), "with everything changed": changed} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw, err := c.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			got, err := Parse(raw)
			if err != nil {
				t.Fatalf("%v in\n%s", err, raw)
			}
			if !reflect.DeepEqual(got, c) {
				t.Errorf("read back\n%+v\nfor\n%+v\nfrom\n%s", got, c, raw)
			}
		})
	}
}

func TestARenderedConfigurationHoldsNoDefault(t *testing.T) {
	t.Parallel()
	raw, err := valid().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"worker", "cache", "log", "security", "server", "mode", "locale", "mail:", "reports", "carts", "payments", "drainTimeout", "maxConnections"} {
		if strings.Contains(string(raw), key) {
			t.Errorf("a new default of %s would change what is rendered:\n%s", key, raw)
		}
	}
}

func TestReadingIsStrictAndNamesTheKey(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ yaml, words string }{
		"an unknown key":            {"stor: {}", `unknown field "stor"`},
		"an unknown nested key":     {"log: {volume: info}", `unknown field "volume"`},
		"a repeated key":            {"log: {level: info}\nlog: {level: warn}", `"log" already set`},
		"a wrong value":             {"log: {level: loud}", "log.level"},
		"a duration without unit":   {"cache: {ttl: 30}", `such as "30s"`},
		"a missing name":            {"{}", "store.name"},
		"an unknown mode":           {"store: {mode: staging}", "store.mode"},
		"mail without a sender":     {"mail: {urlFile: f, from: nobody}", "mail.from"},
		"staff who can not be told": {"mail: {urlFile: f, from: s@example.com, staff: [nobody]}", "mail.staff"},
		"a language in words":       {"store: {locale: German}", "store.locale"},
		"a region in lower case":    {"store: {locale: pt-br}", "store.locale"},
		"no worker at all":          {"worker: {workers: 0}", "worker.workers"},
		"reports without a place":   {"reports: {}", "reports.dir"},
		"a reminder of the past":    {"carts: {reminderAfter: -1h}", "carts.reminderAfter"},
		"a reminder too late":       {"carts: {reminderAfter: 400h}", "carts.reminderAfter"},
		"staff with a name":         {"mail: {urlFile: f, from: a@b.example, staff: [Ada <ada@example.com>]}", "mail.staff"},
		"Stripe without a key":      {"payments: {stripe: {}}", "payments.stripe.apiKeyFile"},
		"a secret that is public":   {"payments: {stripe: {apiKeyFile: f, publishableKey: sk_live_1}}", "must begin with pk_"},
		"a third secret of events":  {"payments: {stripe: {apiKeyFile: f, webhookSecretFiles: [a, b, c]}}", "payments.stripe.webhookSecretFiles"},
		"a Stripe of one's own":     {"payments: {stripe: {apiKeyFile: f, apiBase: http://x}}", "payments.stripe.apiBase"},
		"a window that is no more":  {"payments: {reconcileWindow: 9000h}", "payments.reconcileWindow"},
		"a timeout below zero":      {"mail: {urlFile: f, from: a@b.example, timeout: -1s}", "mail.timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse([]byte(c.yaml))
			if err == nil || !strings.Contains(err.Error(), c.words) {
				t.Errorf("the error is %v, without %q", err, c.words)
			}
		})
	}
}
