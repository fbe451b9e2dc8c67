package main

import (
	"log/slog"
	"math"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// limitMemory has the process collect garbage before it comes to the limit of
// its container, a tenth of which is left to what Go does not count. Where
// GOMEMLIMIT is set, that holds instead.
func limitMemory(log *slog.Logger) {
	limit, err := memlimit.Set(memlimit.WithRatio(0.9))
	switch {
	case err != nil:
		log.Info("no memory limit to follow", "reason", err)
	case limit == math.MaxInt64:
		log.Info("no memory limit to follow", "reason", "the container has none")
	default:
		log.Info("memory is limited", "bytes", limit)
	}
	// A store's live heap is small, and collecting it again and again costs
	// more than the room; the limit above still holds.
	debug.SetGCPercent(300)
}
