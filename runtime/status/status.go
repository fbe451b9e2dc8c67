// Package status is what a running process tells the operator about itself:
// the answers of /internal/... on the internal port, and the last words of
// `gocart migrate`, `enqueue` and `run-job`. The operator imports it to read what the runtime writes.
// Nothing in it holds a secret.
package status

// Status is the answer of GET /internal/status (application/json).
type Status struct {
	// Role is api, worker or dev.
	Role string `json:"role"`
	// Version is the runtime's version.
	Version string `json:"version"`
	// Database and Redis tell what the process sees now.
	Database Dependency `json:"database"`
	// Redis is absent where the store has none.
	Redis *Dependency `json:"redis,omitempty"`
	// Certificate is absent where the process serves no TLS.
	Certificate *Certificate `json:"certificate,omitempty"`
	// Edge is absent where the process serves no callers.
	Edge *Edge `json:"edge,omitempty"`
}

// Edge is what stands between callers and the store's commerce now.
type Edge struct {
	// Hash is config.EdgeHash of the file in force, empty where the defaults are.
	Hash string `json:"hash,omitempty"`
	// Error says why the file that is there is not in force.
	Error  string `json:"error,omitempty"`
	Limits Limits `json:"limits"`
}

// Limits tell what the limiter of this process does.
type Limits struct {
	// Source is where requests are counted now: redis, local, open or closed.
	Source string `json:"source"`
	// Refused are the requests that were refused within the last five minutes:
	// too many, blocked or banned.
	Refused int64 `json:"refused"`
	// Bans are the bans in force that this process knows of.
	Bans int64 `json:"bans"`
	// AttackLevel is 0 while all is well, up to 3 under attack.
	AttackLevel int `json:"attackLevel"`
	// Shed are the requests that were turned away within the last five minutes
	// because the process had too much to do.
	Shed int64 `json:"shed"`
}

// Dependency is a server that the process talks to.
type Dependency struct {
	Reachable bool `json:"reachable"`
	// Version is the server's, such as "15.18"; empty until it was reached.
	Version string `json:"version,omitempty"`
	// Error says why it is not reachable, with no secret in it.
	Error string `json:"error,omitempty"`
	// Connections are those to a database that is reachable.
	Connections *Connections `json:"connections,omitempty"`
}

// Connections tell how a process gets on with those to its database.
type Connections struct {
	// Server is how many connections the server takes from all who are no
	// superusers, Pool how many of them the process may hold.
	Server int32 `json:"server"`
	Pool   int32 `json:"pool"`
	// Waited is the share, 0 to 1, of what asked for a connection within the
	// last five to ten minutes that had to wait for one, and WaitMilliseconds
	// for how long on average.
	Waited           float64 `json:"waited"`
	WaitMilliseconds float64 `json:"waitMilliseconds"`
}

// Certificate is the one being served.
type Certificate struct {
	// NotAfter is RFC 3339, UTC; empty while no certificate could be loaded.
	NotAfter string `json:"notAfter,omitempty"`
	// Serial is hexadecimal.
	Serial string `json:"serial,omitempty"`
	Error  string `json:"error,omitempty"`
}

// Migration is written as one JSON line by `gocart migrate` to the file that
// --report names (the container's termination message), on success and failure.
type Migration struct {
	Succeeded bool `json:"succeeded"`
	// Reason is a CamelCase word: Migrated, DatabaseUnreachable,
	// AuthenticationFailed, DatabaseMissing, PermissionDenied, MigrationFailed,
	// ConfigurationInvalid.
	Reason string `json:"reason"`
	// Message is for people: what happened, to what, and what to do.
	Message string `json:"message,omitempty"`
	// SchemaVersion is the schema's number afterwards.
	SchemaVersion int64 `json:"schemaVersion,omitempty"`
	// DatabaseVersion is the server's, such as "15.18".
	DatabaseVersion string `json:"databaseVersion,omitempty"`
}
