package main

import (
	"errors"
	"strings"
	"testing"
)

func TestSettingsFollowTheOfficialImage(t *testing.T) {
	files := map[string]string{"/run/secrets/password": "s3cret\n"}
	for name, test := range map[string]struct {
		env  map[string]string
		want settings
		err  string
	}{
		"defaults": {
			env:  map[string]string{"POSTGRES_PASSWORD": "x"},
			want: settings{data: "/data", user: "postgres", password: "x", database: "postgres"},
		},
		"the database is named after the user": {
			env:  map[string]string{"POSTGRES_USER": "shop", "POSTGRES_PASSWORD": "x"},
			want: settings{data: "/data", user: "shop", password: "x", database: "shop"},
		},
		"a file gives the password without its line end": {
			env:  map[string]string{"POSTGRES_PASSWORD_FILE": "/run/secrets/password", "POSTGRES_DB": "orders"},
			want: settings{data: "/data", user: "postgres", password: "s3cret", database: "orders"},
		},
		"a password and its file are one too many": {
			env: map[string]string{"POSTGRES_PASSWORD": "x", "POSTGRES_PASSWORD_FILE": "/run/secrets/password"},
			err: "POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE are both set",
		},
		"a file that is not there is named by its variable": {
			env: map[string]string{"POSTGRES_PASSWORD_FILE": "/nowhere"},
			err: "reading POSTGRES_PASSWORD_FILE",
		},
		"PGDATA must be absolute": {
			env: map[string]string{"PGDATA": "data"},
			err: `PGDATA is "data"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			env := func(name string) string {
				if value := test.env[name]; value != "" || name != "PGDATA" {
					return value
				}
				return "/data"
			}
			got, err := readSettings(env, func(name string) ([]byte, error) {
				if text, ok := files[name]; ok {
					return []byte(text), nil
				}
				return nil, errors.New("no such file")
			})
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("the error is %v, want %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestAFirstStartNeedsAPassword(t *testing.T) {
	if err := (settings{}).checkFirstStart(); err == nil {
		t.Error("no password was accepted")
	}
	for name, s := range map[string]settings{"password": {password: "x"}, "trust": {hostAuth: "trust"}} {
		if err := s.checkFirstStart(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestClientsOverTheNetworkNeedScramUnlessTold(t *testing.T) {
	for method, want := range map[string]string{"": "host all all all scram-sha-256", "trust": "host all all all trust"} {
		if got := strings.TrimSpace((settings{hostAuth: method}).accessRule()); got != want {
			t.Errorf("with %q the rule is %q", method, got)
		}
	}
}
