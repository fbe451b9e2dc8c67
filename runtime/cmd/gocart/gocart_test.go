package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/redisdb"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/status"
)

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	gin.SetMode(gin.TestMode)
	redisdb.QuietClient()
	testbed.Main(m)
}

const adminKey = "sk_live_ADMINSECRET0123456789"

func storeConfig(t *testing.T, uri string) config.Config {
	t.Helper()
	c := config.Default()
	c.Store = config.Store{Name: "shop", Namespace: "ns", URL: "https://shop.example", Domains: []string{"shop.example"}, Mode: config.ModeProduction, Locale: c.Store.Locale}
	c.Server.Public.Address, c.Server.Internal.Address = "127.0.0.1:0", "127.0.0.1:0"
	c.Server.DrainTimeout = config.Duration(4 * time.Second)
	c.EdgeFile = testbed.File(t, "security: {hsts: {maxAgeSeconds: 31536000, includeSubDomains: true}}\nlimits: {address: [], apiKey: [], protection: {mode: \"off\"}}\n")
	c.Database = testbed.DatabaseConfig(t, uri)
	c.Auth.AdminKeyFile = testbed.File(t, adminKey)
	c.Auth.TokenKeyFile = testbed.File(t, strings.Repeat("k", 40))
	return c
}

// running is a process under test.
type running struct {
	t     *testing.T
	log   *testbed.Log
	addrs []net.Addr
	stop  func() // and wait
	end   chan struct{}
}

func start(t *testing.T, c config.Config, r roles) *running {
	t.Helper()
	run := &running{t: t, log: &testbed.Log{}, end: make(chan struct{})}
	p, err := newProcess(c, "api", r, run.log.Logger())
	if err != nil {
		t.Fatal(err)
	}
	run.addrs = p.addrs()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(run.end)
		if err := p.run(ctx); err != nil {
			t.Error(err)
		}
	}()
	run.stop = sync.OnceFunc(func() { cancel(); <-run.end })
	t.Cleanup(run.stop)
	return run
}

// get is the code and body of a GET on the n-th listener; 0 is internal.
func (r *running) get(n int, path string) (int, string) {
	response, err := http.Get("http://" + r.addrs[n].String() + path)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(body)
}

func (r *running) status() (s status.Status) {
	r.t.Helper()
	_, body := r.get(0, "/internal/status")
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		r.t.Fatalf("%v: %s", err, body)
	}
	return s
}

func TestTheStoreServesAgainAfterPostgreSQLWasKilled(t *testing.T) {
	t.Parallel()
	server := durable(t)
	c := storeConfig(t, server.URL("postgres"))
	if _, err := db.Migrate(t.Context(), c.Database, time.Second, (&testbed.Log{}).Logger()); err != nil {
		t.Fatal(err)
	}
	store := start(t, c, roles{api: true, worker: true})
	create(t, "http://"+store.addrs[1].String(), "MUG")

	server.Kill()
	begin := time.Now()
	code, body := store.get(1, "/products")
	if took := time.Since(begin); code != http.StatusServiceUnavailable || !strings.Contains(body, "database_unavailable") || took > 6*time.Second {
		t.Errorf("without its database: %d %s after %v", code, body, took)
	}
	if code, _ := store.get(0, "/healthz"); code != http.StatusOK {
		t.Errorf("not alive: %d", code)
	}
	if code, _ := store.get(1, "/api/health"); code != http.StatusOK {
		t.Errorf("does not answer: %d", code)
	}
	if code, why := store.get(0, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(why, "database") {
		t.Errorf("ready: %d %s", code, why)
	}
	if s := store.status(); s.Database.Reachable || s.Database.Error == "" {
		t.Errorf("status: %+v", s.Database)
	}

	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	testbed.Eventually(t, "the store is ready", func() bool { code, _ := store.get(0, "/readyz"); return code == http.StatusOK })
	testbed.Eventually(t, "the product is there", func() bool {
		code, body := store.get(1, "/products/mug")
		return code == http.StatusOK && strings.Contains(body, `"sku":"MUG"`)
	})
	create(t, "http://"+store.addrs[1].String(), "CUP")
	store.stop()
	if strings.Contains(store.log.String(), "SECRET") {
		t.Error("the log tells a secret")
	}
}

func create(t *testing.T, url, sku string) {
	t.Helper()
	r, err := http.NewRequest("POST", url+"/api/v1/products", strings.NewReader(
		`{"title":"`+sku+`","type":"simple","status":"active","variants":[{"sku":"`+sku+`","prices":[{"amount":"5","currency":"EUR"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+adminKey)
	r.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if body, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusCreated {
		t.Fatalf("%d %s", response.StatusCode, body)
	}
}

func TestAStoreWithoutRedisOrADatabaseSaysSoAndStops(t *testing.T) {
	t.Parallel()
	c := storeConfig(t, "postgres://u:PASSWORDSECRET@127.0.0.1:1/shop")
	c.Redis = &config.Redis{URLFile: testbed.File(t, "redis://:REDISSECRET@127.0.0.1:1")}
	store := start(t, c, roles{api: true, worker: true})
	testbed.Eventually(t, "status tells of both", func() bool {
		s := store.status()
		return strings.HasPrefix(s.Database.Error, "connection refused") && s.Redis.Error == "connection refused"
	})
	_, body := store.get(1, "/products")
	_, why := store.get(0, "/readyz")
	_, metrics := store.get(0, "/metrics")
	_, said := store.get(0, "/internal/status")
	store.stop()
	for _, text := range []string{body, why, metrics, said, store.log.String()} {
		if strings.Contains(text, "SECRET") {
			t.Errorf("tells a secret: %s", text)
		}
	}
	for _, metric := range []string{"gocart_build_info", "gocart_redis_up 0", "gocart_db_connections_max", "go_goroutines", "process_resident_memory_bytes", `gocart_http_request_duration_seconds_count{method="GET",route="/products",status="503"} 1`} {
		if !strings.Contains(metrics, metric) {
			t.Errorf("no metric %s", metric)
		}
	}
}

func TestRedisAwayDoesNotMakeAStoreUnready(t *testing.T) {
	t.Parallel()
	c := storeConfig(t, testbed.Database(t))
	c.Redis = &config.Redis{URLFile: testbed.File(t, "redis://"+testbed.BlackHole(t))}
	store := start(t, c, roles{api: true})
	testbed.Within(t, 5*time.Second, "it is ready, once it has asked Redis in vain", func() bool {
		code, _ := store.get(0, "/readyz")
		return code == http.StatusOK
	})
	if code, body := store.get(1, "/products"); code != http.StatusOK {
		t.Errorf("%d %s", code, body)
	}
}

func TestAStoreThatCachesNothingStillTellsWhetherRedisAnswers(t *testing.T) {
	t.Parallel()
	c := storeConfig(t, testbed.Database(t))
	c.Cache.Enabled = false
	c.Redis = &config.Redis{URLFile: testbed.File(t, "redis://"+testbed.BlackHole(t))}
	store := start(t, c, roles{api: true})
	for range 2 {
		if code, body := store.get(1, "/products"); code != http.StatusOK {
			t.Errorf("%d %s", code, body)
		}
	}
	if redis := store.status().Redis; redis == nil || redis.Reachable {
		t.Errorf("status tells %+v of a Redis that does not answer", redis)
	}
}

func TestDevRefusesAFolderThatSomebodyElseMade(t *testing.T) {
	t.Parallel()
	planted := filepath.Join(t.TempDir(), "gocart-dev")
	if err := os.Symlink(t.TempDir(), planted); err != nil {
		t.Fatal(err)
	}
	err := dev(t.Context(), devOptions{addr: "127.0.0.1:0", internalAddr: "127.0.0.1:0", dir: planted}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "--dir") {
		t.Errorf("dev answered %v", err)
	}
}

// pair writes a self-signed certificate with a serial number into dir, as
// Kubernetes does: a new folder, then one rename of the symlink ..data.
func pair(t *testing.T, dir string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "shop.example"}, DNSNames: []string{"shop.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	swap(t, dir, strconv.FormatInt(serial, 10),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

func swap(t *testing.T, dir, name string, cert, key []byte) {
	t.Helper()
	folder := filepath.Join(dir, "..v"+name)
	err := errors.Join(
		os.Mkdir(folder, 0o755),
		os.WriteFile(filepath.Join(folder, "tls.crt"), cert, 0o600),
		os.WriteFile(filepath.Join(folder, "tls.key"), key, 0o600),
		os.Symlink(folder, filepath.Join(dir, "..data_tmp")),
		os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")),
	)
	for _, file := range []string{"tls.crt", "tls.key"} {
		if e := os.Symlink("..data/"+file, filepath.Join(dir, file)); !errors.Is(e, os.ErrExist) {
			err = errors.Join(err, e)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestHTTPS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := storeConfig(t, testbed.Database(t))
	c.Server.Public.TLS = &config.TLS{Address: "127.0.0.1:0", MinVersion: "1.3",
		CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key")}
	store := start(t, c, roles{api: true})
	https, plain := store.addrs[1].String(), store.addrs[2].String()

	if code, why := store.get(0, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(why, "certificate") {
		t.Errorf("ready without a certificate: %d %s", code, why)
	}
	pair(t, dir, 0x11)
	testbed.Eventually(t, "the store is ready with its certificate", func() bool { code, _ := store.get(0, "/readyz"); return code == http.StatusOK })

	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get("https://" + https + "/api/health")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.Proto != "HTTP/2.0" || response.StatusCode != http.StatusOK || response.TLS.Version != tls.VersionTLS13 ||
		response.Header.Get("Strict-Transport-Security") != "max-age=31536000; includeSubDomains" {
		t.Errorf("%s %d %v", response.Proto, response.StatusCode, response.Header)
	}
	if _, err := tls.Dial("tcp", https, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}); err == nil {
		t.Error("TLS 1.2 is spoken")
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err = client.Get("http://" + plain + "/products?q=mug")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusPermanentRedirect || response.Header.Get("Location") != "https://shop.example/products?q=mug" {
		t.Errorf("plain HTTP: %d to %s", response.StatusCode, response.Header.Get("Location"))
	}

	pair(t, dir, 0x22) // a renewal
	testbed.Eventually(t, "the new certificate is served", func() bool { return serial(t, https) == 0x22 })
	swap(t, dir, "bad", []byte("no certificate"), []byte("KEYSECRET")) // a mistake
	testbed.Eventually(t, "status tells of the bad pair", func() bool { return store.status().Certificate.Error != "" })
	if s := store.status().Certificate; serial(t, https) != 0x22 || s.Serial != "22" || s.NotAfter == "" {
		t.Errorf("a bad pair replaced a good one: %+v", s)
	}
	if code, _ := store.get(0, "/readyz"); code != http.StatusOK {
		t.Errorf("not ready: %d", code)
	}
	pair(t, dir, 0x33)
	testbed.Eventually(t, "a good pair is served again", func() bool { return serial(t, https) == 0x33 && store.status().Certificate.Error == "" })
	store.stop()
	if strings.Contains(store.log.String(), "SECRET") {
		t.Error("the log tells a secret")
	}
}

func serial(t *testing.T, address string) int64 {
	t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err) // a handshake must never fail
	}
	defer func() { _ = conn.Close() }()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

func TestAStoppingStoreIsUnreadyYetServesUntilTrafficHasMoved(t *testing.T) {
	t.Parallel()
	store := start(t, storeConfig(t, testbed.Database(t)), roles{api: true})
	// A request in flight: its body is still to come.
	body, send := io.Pipe()
	answered := make(chan string, 1)
	go func() {
		r, err := http.NewRequest("POST", "http://"+store.addrs[1].String()+"/products", body)
		if err != nil {
			answered <- err.Error()
			return
		}
		r.Header.Set("Authorization", "Bearer "+adminKey)
		r.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			answered <- err.Error()
			return
		}
		_ = response.Body.Close()
		answered <- response.Status
	}()
	if _, err := io.WriteString(send, `{"title":"Mug",`); err != nil {
		t.Fatal(err)
	}
	go store.stop()
	testbed.Eventually(t, "readiness fails", func() bool { code, why := store.get(0, "/readyz"); return code == 503 && why == "stopping\n" })
	if code, _ := store.get(1, "/api/health"); code != http.StatusOK {
		t.Errorf("a new request is refused while traffic still comes: %d", code)
	}
	if _, err := io.WriteString(send, `"type":"simple","variants":[{"sku":"A","prices":[{"amount":"1","currency":"EUR"}]}]}`); err != nil {
		t.Fatal(err)
	}
	_ = send.Close()
	if got := <-answered; got != "201 Created" {
		t.Errorf("the request in flight was cut: %s", got)
	}
	<-store.end
}

func TestMigrateReports(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, uri, reason string }{
		{name: "success", uri: testbed.EmptyDatabase(t), reason: "Migrated"},
		{name: "a database that is away", uri: "postgres://u:PASSWORDSECRET@127.0.0.1:1/d", reason: "DatabaseUnreachable"},
		{name: "a URI that is none", uri: "PASSWORDSECRET", reason: "ConfigurationInvalid"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			raw, err := storeConfig(t, tt.uri).Marshal()
			if err != nil {
				t.Fatal(err)
			}
			report := filepath.Join(t.TempDir(), "report")
			root := rootCommand()
			root.SetArgs([]string{"migrate", "--config", testbed.File(t, string(raw)), "--report", report, "--wait", "100ms"})
			failure := root.ExecuteContext(t.Context())
			written, err := os.ReadFile(report)
			if err != nil {
				t.Fatal(err)
			}
			var m status.Migration
			if err := json.Unmarshal(written, &m); err != nil {
				t.Fatal(err)
			}
			if m.Reason != tt.reason || m.Succeeded != (tt.reason == "Migrated") || m.Succeeded != (failure == nil) || m.Message == "" {
				t.Errorf("%s, %v", written, failure)
			}
			if m.Succeeded && (m.SchemaVersion != db.LatestSchema() || m.DatabaseVersion == "") {
				t.Errorf("%s", written)
			}
			if strings.Contains(string(written), "SECRET") || failure != nil && strings.Contains(failure.Error(), "SECRET") {
				t.Errorf("tells the password: %s %v", written, failure)
			}
		})
	}
	t.Run("a configuration that is none", func(t *testing.T) {
		t.Parallel()
		report := filepath.Join(t.TempDir(), "report")
		root := rootCommand()
		root.SetArgs([]string{"migrate", "--config", testbed.File(t, "storre: {}"), "--report", report})
		err := root.ExecuteContext(t.Context())
		written, readErr := os.ReadFile(report)
		if err == nil || readErr != nil || !bytes.Contains(written, []byte("ConfigurationInvalid")) || !bytes.Contains(written, []byte("storre")) {
			t.Fatalf("%v, %v: %s", err, readErr, written)
		}
	})
}

func TestAReportFitsIntoAContainersLastWords(t *testing.T) {
	t.Parallel()
	for _, message := range []string{strings.Repeat("x", 10_000), strings.Repeat("\x01", 10_000), strings.Repeat("ü", 10_000)} {
		path := filepath.Join(t.TempDir(), "report")
		if err := writeReport(path, func(most int) any { return status.Migration{Reason: "MigrationFailed", Message: cut(message, most)} }); err != nil {
			t.Fatal(err)
		}
		written, err := os.ReadFile(path)
		if err != nil || len(written) >= 4096 || !json.Valid(written) {
			t.Fatalf("%d bytes, %v", len(written), err)
		}
	}
}

func TestDevRunsAWholeStoreAndTakesItsDatabaseDown(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "gocart-dev-")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out testbed.Log
	done := make(chan error, 1)
	go func() { done <- dev(ctx, devOptions{addr: "127.0.0.1:0", internalAddr: "127.0.0.1:0", dir: dir}, &out) }()
	testbed.Eventually(t, "it says that it runs", func() bool { return len(done) > 0 || strings.Contains(out.String(), "Ctrl-C") })
	url := ""
	for line := range strings.Lines(out.String()) {
		if at, ok := strings.CutPrefix(strings.TrimSpace(line), "Store"); ok {
			url = strings.TrimSpace(at)
		}
	}
	response, err := http.Get(url)
	if err != nil {
		t.Fatalf("%v; %s", err, out.String())
	}
	body, _ := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if !bytes.Contains(body, []byte("Coffee Beans")) {
		t.Errorf("%s", body)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "postgres", "data", "postmaster.pid")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("PostgreSQL still runs: %v", err)
	}
}
