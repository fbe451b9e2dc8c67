// Package store reconciles Stores: it observes, plans, applies and reports,
// in that direction.
//
// A reconcile is a list of phases (phases.go). Each resolves or applies one
// concern and records what it found as a condition; phases that do not depend
// on a failed one still run. Only report.go writes status, once, at the end.
package store
