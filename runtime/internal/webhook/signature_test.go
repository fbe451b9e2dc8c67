package webhook

import (
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func headers(id, timestamp, signature string) http.Header {
	return http.Header{headerID: {id}, headerTimestamp: {timestamp}, headerSignature: {signature}}
}

// An example that the libraries of the specification are tested with.
const (
	exampleSecret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	exampleID        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	exampleTimestamp = "1614265330"
	exampleBody      = `{"test": 2432232314}`
	exampleSignature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

var exampleTime = time.Unix(1614265330, 0)

func TestDeliveriesAreSignedAsOthersLibrariesExpect(t *testing.T) {
	t.Parallel()
	got, err := sign([]string{exampleSecret, newSecret()}, exampleID, exampleTime, []byte(exampleBody))
	if err != nil || !strings.HasPrefix(got, exampleSignature+" v1,") {
		t.Errorf("%s %v", got, err)
	}
	if err := Verify(headers(exampleID, exampleTimestamp, got), []byte(exampleBody), exampleSecret, exampleTime); err != nil {
		t.Error(err)
	}
}

func TestWhatWasNotSignedSoIsNoDelivery(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		header http.Header
		body   string
		at     time.Time
	}{
		"another body":              {headers(exampleID, exampleTimestamp, exampleSignature), exampleBody + " ", exampleTime},
		"another id":                {headers("msg_other", exampleTimestamp, exampleSignature), exampleBody, exampleTime},
		"another time":              {headers(exampleID, "1614265331", exampleSignature), exampleBody, exampleTime},
		"no id":                     {headers("", exampleTimestamp, exampleSignature), exampleBody, exampleTime},
		"no time":                   {headers(exampleID, "", exampleSignature), exampleBody, exampleTime},
		"a time written otherwise":  {headers(exampleID, "+1614265330", exampleSignature), exampleBody, exampleTime},
		"no signature":              {headers(exampleID, exampleTimestamp, ""), exampleBody, exampleTime},
		"a signature of version 2":  {headers(exampleID, exampleTimestamp, strings.Replace(exampleSignature, "v1", "v2", 1)), exampleBody, exampleTime},
		"half a signature":          {headers(exampleID, exampleTimestamp, exampleSignature[:20]), exampleBody, exampleTime},
		"too late":                  {headers(exampleID, exampleTimestamp, exampleSignature), exampleBody, exampleTime.Add(tolerance + time.Second)},
		"too early":                 {headers(exampleID, exampleTimestamp, exampleSignature), exampleBody, exampleTime.Add(-tolerance - time.Second)},
		"a signature after so many": {headers(exampleID, exampleTimestamp, strings.Repeat("v1,x ", maxSignatures)+exampleSignature), exampleBody, exampleTime},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := Verify(c.header, []byte(c.body), exampleSecret, c.at); !errors.Is(err, ErrSignature) {
				t.Errorf("%v", err)
			}
		})
	}
	if err := Verify(headers(exampleID, exampleTimestamp, exampleSignature), []byte(exampleBody), "whsec_short", exampleTime); err == nil || errors.Is(err, ErrSignature) {
		t.Errorf("%v", err)
	}
}

// FuzzVerify takes nothing but what holds the one signature of it.
func FuzzVerify(f *testing.F) {
	f.Add(exampleID, exampleTimestamp, exampleSignature, []byte(exampleBody), int64(0))
	f.Add(exampleID, exampleTimestamp, "v2,x "+exampleSignature+" v1,", []byte(exampleBody), int64(300))
	f.Add("", "-1", " v1, ,v1", []byte{}, int64(-301))
	f.Add("a.b", "9223372036854775808", "v1,====", []byte("\xff"), int64(1)<<40)
	key, err := keyOf(exampleSecret)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, id, timestamp, signature string, body []byte, apart int64) {
		now := exampleTime.Add(time.Duration(apart) * time.Second)
		want := version1 + base64.StdEncoding.EncodeToString(mac(key, id, timestamp, body))
		at, numeric := strconv.ParseInt(timestamp, 10, 64)
		tokens := strings.Split(signature, " ")
		holds := id != "" && numeric == nil && slices.Contains(tokens[:min(len(tokens), maxSignatures)], want)
		fresh := holds && now.Unix()-at <= 300 && at-now.Unix() <= 300
		if err := Verify(headers(id, timestamp, signature), body, exampleSecret, now); err == nil != fresh && (fresh == (strconv.FormatInt(at, 10) == timestamp)) {
			t.Errorf("%q at %q with %q: %v", id, timestamp, signature, err)
		} else if err != nil && !errors.Is(err, ErrSignature) {
			t.Errorf("%v", err)
		}
		// What is signed now is taken now, and by no other id.
		signed, err := sign([]string{exampleSecret}, id, now, body)
		if err != nil {
			t.Fatal(err)
		}
		stamp := strconv.FormatInt(now.Unix(), 10)
		if err := Verify(headers(id, stamp, signed), body, exampleSecret, now); err == nil != (id != "") {
			t.Errorf("%q: %v", id, err)
		}
		if err := Verify(headers(id+"x", stamp, signed), body, exampleSecret, now); err == nil {
			t.Errorf("%q is taken for %qx", id, id)
		}
	})
}
