// Package ratelimitpolicy tells in RateLimitPolicies' status whether they take
// part in their Store's limits and whether its pods run them.
//
// It looks at all policies of one Store together: judged with one plan, and
// compared with one answer of every pod. What the pods run is the Store
// controller's to write; this package writes nothing but status.
package ratelimitpolicy
