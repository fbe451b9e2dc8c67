package main

import (
	"runtime/debug"
	"strings"
	"testing"

	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

func TestALimitThatSomebodySetIsKeptAndToldOnce(t *testing.T) { // not in parallel: it is the process's own
	before, percent := debug.SetMemoryLimit(123<<20), debug.SetGCPercent(100)
	defer func() { debug.SetMemoryLimit(before); debug.SetGCPercent(percent) }()
	t.Setenv("GOMEMLIMIT", "123MiB")
	var log testbed.Log
	limitMemory(log.Logger())
	if now := debug.SetMemoryLimit(-1); now != 123<<20 {
		t.Errorf("the limit is %d", now)
	}
	if said := log.String(); strings.Count(said, "\n") != 1 || !strings.Contains(said, "128974848") {
		t.Errorf("said %s", said)
	}
}
