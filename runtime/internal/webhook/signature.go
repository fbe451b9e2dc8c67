package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of a delivery, as the Standard Webhooks specification names them.
const (
	headerID        = "Webhook-Id"
	headerTimestamp = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"
)

const (
	secretPrefix = "whsec_"
	version1     = "v1,"
	// tolerance is how far a receiver's clock may be from the store's.
	tolerance = 5 * time.Minute
	// maxSignatures bounds how many of a header are looked at.
	maxSignatures = 20
)

// ErrSignature is the error of a delivery that is none of the store's, or was
// sent at another time.
var ErrSignature = errors.New("webhook: the signature does not hold")

// sign says who sends a message, in the form of the header: of each secret
// one signature, an HMAC-SHA256 over the id, the Unix time and the body,
// separated by dots.
func sign(secrets []string, id string, at time.Time, body []byte) (string, error) {
	signatures := make([]string, len(secrets))
	for i, secret := range secrets {
		key, err := keyOf(secret)
		if err != nil {
			return "", err
		}
		signatures[i] = version1 + base64.StdEncoding.EncodeToString(mac(key, id, strconv.FormatInt(at.Unix(), 10), body))
	}
	return strings.Join(signatures, " "), nil
}

func keyOf(secret string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix))
	if err != nil || len(key) < 24 {
		return nil, errors.New("webhook: a secret is whsec_ and 24 bytes or more in base64")
	}
	return key, nil
}

func mac(key []byte, id, timestamp string, body []byte) []byte {
	m := hmac.New(sha256.New, key)
	fmt.Fprintf(m, "%s.%s.", id, timestamp)
	m.Write(body)
	return m.Sum(nil)
}

// Verify reports as ErrSignature, with the reason, that a request with these
// headers and this body is no delivery of who has the secret, sent within five
// minutes of now. One signature that holds is enough, so that a secret can be
// changed.
func Verify(header http.Header, body []byte, secret string, now time.Time) error {
	key, err := keyOf(secret)
	if err != nil {
		return err
	}
	id, timestamp := header.Get(headerID), header.Get(headerTimestamp)
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || id == "" || strconv.FormatInt(seconds, 10) != timestamp {
		return fmt.Errorf("%w: it lacks webhook-id or webhook-timestamp", ErrSignature)
	}
	if at := time.Unix(seconds, 0); at.Before(now.Add(-tolerance)) || at.After(now.Add(tolerance)) {
		return fmt.Errorf("%w: it was signed at another time", ErrSignature)
	}
	want := mac(key, id, timestamp, body)
	for i, signature := range strings.SplitN(header.Get(headerSignature), " ", maxSignatures+1) {
		encoded, ok := strings.CutPrefix(signature, version1)
		if !ok || i == maxSignatures {
			continue // of another version, which may come
		}
		if got, err := base64.StdEncoding.Strict().DecodeString(encoded); err == nil && hmac.Equal(got, want) {
			return nil
		}
	}
	return fmt.Errorf("%w: none of its signatures is of this secret and body", ErrSignature)
}
