package db

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// Reasons that an Explanation gives; they are those of status.Migration.
const (
	ReasonUnreachable    = "DatabaseUnreachable"
	ReasonAuthentication = "AuthenticationFailed"
	ReasonMissing        = "DatabaseMissing"
	ReasonPermission     = "PermissionDenied"
	ReasonConfiguration  = "ConfigurationInvalid"
	ReasonOther          = "MigrationFailed"
)

// Explanation is an error in a reason for programs and words for people, with
// no secret in either.
type Explanation struct {
	Reason  string
	Message string
}

// Explain says what an error from the database means.
func Explain(err error) Explanation {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		message := pg.Message + " (SQLSTATE " + pg.Code + ")"
		switch {
		case pg.Code == "28P01" || pg.Code == "28000":
			return Explanation{ReasonAuthentication, message + "; check the user and password that the connection URI holds"}
		case pg.Code == "3D000":
			return Explanation{ReasonMissing, message + "; create the database or name another in the connection URI"}
		case pg.Code == "42501":
			return Explanation{ReasonPermission, message + "; the store's user must own its database or schema"}
		case unavailableCode(pg.Code):
			return Explanation{ReasonUnreachable, message}
		}
		return Explanation{ReasonOther, message}
	}
	if ce, ok := errors.AsType[*ConfigurationError](err); ok {
		return Explanation{ReasonConfiguration, ce.Error()}
	}
	if message := unreachable(err); message != "" {
		return Explanation{ReasonUnreachable, message}
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return Explanation{ReasonUnreachable, "no connection could be made"}
	}
	return Explanation{ReasonOther, err.Error()}
}

// unreachable classes an error of the network, or is empty.
func unreachable(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return "host " + dns.Name + " was not found"
	}
	if verify, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "its certificate was not accepted: " + verify.Err.Error()
	}
	if host, ok := errors.AsType[x509.HostnameError](err); ok {
		return "its certificate was not accepted: " + host.Error()
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused" + address(err)
	case errors.Is(err, syscall.ENOENT):
		return "no such socket" + address(err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return "no answer in time" + address(err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the connection was lost"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err.Error() + address(err)
	}
	if strings.Contains(err.Error(), "server refused TLS connection") {
		return "the server refuses TLS, which the store requires"
	}
	return ""
}

func address(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Addr != nil {
		return " at " + op.Addr.String()
	}
	return ""
}

// Unavailable reports whether the database, rather than the request, is why
// err came about, so that the same request may succeed later.
func Unavailable(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return unavailableCode(pg.Code)
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	return errors.Is(err, net.ErrClosed) || unreachable(err) != "" ||
		strings.Contains(err.Error(), "conn closed") || strings.Contains(err.Error(), "closed pool")
}

// unavailableCode knows the SQLSTATE classes of a server that starts, stops,
// is full, only reads, or gave up a statement that took too long.
func unavailableCode(code string) bool {
	switch code {
	case "57014", "25006", "55P03", "28P01", "28000", "3D000":
		return true
	}
	return strings.HasPrefix(code, "08") || strings.HasPrefix(code, "53") || strings.HasPrefix(code, "57P")
}

// Violates reports whether err is a violation of the named constraint.
func Violates(err error, constraint string) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && strings.HasPrefix(pg.Code, "23") && pg.ConstraintName == constraint
}

// Violated reports whether a statement failed since it broke a constraint.
func Violated(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && strings.HasPrefix(pg.Code, "23")
}
