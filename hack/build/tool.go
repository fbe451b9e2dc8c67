package main

import (
	"context"
	"fmt"

	"gitee.com/captainjez/gocart/hack/internal/tools"
)

var toolCommand = command{
	name:    "tool",
	summary: "build the named programs when the cache lacks them and print their paths; --list lists them",
	run:     buildTools,
}

func buildTools(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("tool: name at least one, or --list")
	}
	if args[0] == "--list" {
		for _, t := range tools.All() {
			fmt.Println(t.Name)
		}
		return nil
	}
	for _, name := range args {
		path, err := tools.Path(ctx, name)
		if err != nil {
			return err
		}
		fmt.Println(path)
	}
	return nil
}
