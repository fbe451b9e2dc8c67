// Command ci reads what the test runs wrote (dist/*.json, go test's events)
// and prints the last line of a CI run: how many tests passed and failed. Its
// arguments are steps that failed; each counts, so that a step that broke
// before a test could run is not taken for success.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// event is one line of go test -json.
type event struct {
	Action, Package, Test string
}

func main() {
	passed, failed := 0, 0
	files, err := filepath.Glob("dist/*.json")
	if err != nil {
		panic(err) // The pattern is a constant.
	}
	for _, name := range files {
		p, f, err := count(name)
		if err != nil {
			fmt.Fprintln(os.Stderr, "ci:", err)
			f++
		}
		passed, failed = passed+p, failed+f
	}
	for _, step := range os.Args[1:] {
		fmt.Printf("make %s failed\n", step)
		failed++
	}
	if passed == 0 {
		fmt.Println("no test was run")
		failed++
	}
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		os.Exit(1)
	}
}

func count(name string) (passed, failed int, err error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Test == "" {
			continue
		}
		switch e.Action {
		case "pass":
			passed++
		case "fail":
			failed++
			fmt.Printf("FAILED %s %s\n", e.Package, e.Test)
		}
	}
	return passed, failed, lines.Err()
}
