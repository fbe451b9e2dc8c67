package main

import (
	"context"
	"fmt"
	"strings"

	"gitee.com/captainjez/gocart/hack/internal/apt"
)

var aptCommand = command{
	name:    "apt",
	summary: "install the Debian packages of missing programs: apt PROGRAM=PACKAGE...",
	run: func(ctx context.Context, args []string) error {
		var needs []apt.Need
		for _, arg := range args {
			program, pkg, ok := strings.Cut(arg, "=")
			if !ok {
				return fmt.Errorf("apt: %q is not PROGRAM=PACKAGE", arg)
			}
			needs = append(needs, apt.Need{Program: program, Package: pkg})
		}
		return apt.Ensure(ctx, needs...)
	},
}
