package v1alpha1

// Condition types of a Store. Each carries the generation that it speaks of.
const (
	// ReadyCondition is True when everything the spec asks for is in place and
	// answers. It is computed from the conditions below, never set by hand.
	ReadyCondition = "Ready"
	// ReconcilingCondition exists, True, only while the Store is on its way.
	ReconcilingCondition = "Reconciling"
	// StalledCondition exists, True, only while the Store can not progress
	// until a person changes something; its message says what.
	StalledCondition = "Stalled"

	DatabaseReadyCondition      = "DatabaseReady"
	RedisReadyCondition         = "RedisReady"
	MigrationSucceededCondition = "MigrationSucceeded"
	WorkloadsAvailableCondition = "WorkloadsAvailable"
	// CertificateReadyCondition is absent where TLS is disabled.
	CertificateReadyCondition = "CertificateReady"
	RouteReadyCondition       = "RouteReady"
	// WorkersScaledCondition is absent where the spec says how many workers there are.
	WorkersScaledCondition = "WorkersScaled"
	// ConnectionsScarceCondition exists, True, only while the pods may ask the
	// database for more connections than it takes, or wait long for one. It is
	// advice: the Store is Ready all the same.
	ConnectionsScarceCondition = "ConnectionsScarce"
)

// Condition types of a RateLimitPolicy, besides Reconciling and Stalled.
const (
	// AcceptedCondition is True when the policy takes part in its Store's limits.
	AcceptedCondition = "Accepted"
	// EnforcedCondition is True when every ready pod of the Store's API runs the
	// settings that include this generation of the policy.
	EnforcedCondition = "Enforced"
	// OverriddenCondition exists, True, only while an older policy decides
	// something that this one sets too.
	OverriddenCondition = "Overridden"
)

// Condition types of a JobSchedule, besides Accepted, Reconciling and Stalled.
const (
	// ScheduledCondition is True while further runs come.
	ScheduledCondition = "Scheduled"
	// LastRunSucceededCondition is True when the newest run that ended did what
	// it is for, and Unknown before the first one did.
	LastRunSucceededCondition = "LastRunSucceeded"
)

// Reasons of a JobSchedule's conditions.
const (
	ReasonScheduled       = "Scheduled"
	ReasonSuspended       = "Suspended"
	ReasonStoreMigrating  = "StoreMigrating"
	ReasonNeverFires      = "NeverFires"
	ReasonUnknownTimeZone = "UnknownTimeZone"

	ReasonNoRunYet    = "NoRunYet"
	ReasonCompleted   = "Completed"
	ReasonDead        = "Dead"
	ReasonNotEnqueued = "NotEnqueued"
)

// Reasons of a RateLimitPolicy's conditions.
const (
	ReasonAccepted               = "Accepted"
	ReasonTargetNotFound         = "TargetNotFound"
	ReasonInvalid                = "Invalid"
	ReasonLockoutNotAcknowledged = "LockoutNotAcknowledged"
	ReasonTooLarge               = "TooLarge"
	ReasonOlderPolicy            = "OlderPolicy"

	ReasonEnforced    = "Enforced"
	ReasonPropagating = "Propagating"
	ReasonPodRefuses  = "PodRefuses"
	ReasonPodSilent   = "PodSilent"
	ReasonNoReadyPods = "NoReadyPods"
)

// Reasons of a Store's conditions.
const (
	ReasonReady       = "Ready"
	ReasonProgressing = "Progressing"
	ReasonPaused      = "Paused"
	ReasonDeleting    = "Deleting"
	// ReasonError is an error that is retried with growing pauses.
	ReasonError = "Error"

	ReasonSecretNotFound     = "SecretNotFound"
	ReasonSecretInvalid      = "SecretInvalid"
	ReasonNameTaken          = "NameTaken"
	ReasonCredentialsLost    = "CredentialsLost"
	ReasonAPIMissing         = "APIMissing"
	ReasonReferenceNotFound  = "ReferenceNotFound"
	ReasonForbidden          = "Forbidden"
	ReasonRejected           = "Rejected"
	ReasonImagePullFailed    = "ImagePullFailed"
	ReasonCrashLooping       = "CrashLooping"
	ReasonUnschedulable      = "Unschedulable"
	ReasonPodsNotReady       = "PodsNotReady"
	ReasonAvailable          = "Available"
	ReasonScaledToZero       = "ScaledToZero"
	ReasonMigrationRunning   = "MigrationRunning"
	ReasonMigrationSucceeded = "MigrationSucceeded"
	ReasonMigrationFailed    = "MigrationFailed"
	ReasonUnreachable        = "Unreachable"
	ReasonIssuing            = "Issuing"
	ReasonIssued             = "Issued"
	ReasonIssueFailed        = "IssueFailed"
	ReasonExpired            = "Expired"
	ReasonServed             = "Served"
	ReasonAddressPending     = "AddressPending"
	ReasonNotAccepted        = "NotAccepted"
	ReasonWaiting            = "Waiting"
	ReasonScaledByJobs       = "ScaledByJobs"
	ReasonAboveTotal         = "AboveTotal"
	ReasonAboveServer        = "AboveServer"
	ReasonLongWaits          = "LongWaits"
	ReasonAnotherAutoscaler  = "AnotherAutoscaler"
)
