package db

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"encoding/pem"

	"github.com/jackc/pgx/v5"
)

func TestWithACAEveryHostIsVerifiedAndNoneIsTriedInPlain(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"disable", "prefer", "require", "verify-full"} {
		cc, err := pgx.ParseConfig("postgres://u:p@one.example,two.example/shop?sslmode=" + mode)
		if err != nil {
			t.Fatal(err)
		}
		if err := verifyFull(cc, ca); err != nil {
			t.Fatal(err)
		}
		if cc.TLSConfig == nil || cc.TLSConfig.InsecureSkipVerify || cc.TLSConfig.ServerName != "one.example" || cc.TLSConfig.RootCAs == nil {
			t.Errorf("%s: %+v", mode, cc.TLSConfig)
		}
		if len(cc.Fallbacks) != 1 || cc.Fallbacks[0].TLSConfig == nil || cc.Fallbacks[0].TLSConfig.ServerName != "two.example" || cc.Fallbacks[0].TLSConfig.InsecureSkipVerify {
			t.Errorf("%s: fallbacks %+v", mode, cc.Fallbacks)
		}
	}
}
