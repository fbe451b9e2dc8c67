package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/status"
)

// maxReport is below the 4096 bytes that Kubernetes keeps of a container's
// last words; maxMessage leaves room for JSON's escapes.
const (
	maxReport  = 4000
	maxMessage = 1000
)

func migrateCommand() *cobra.Command {
	var file, report string
	var wait time.Duration
	cmd := &cobra.Command{
		Use: "migrate --config FILE", Short: "Brings the database's schema to this version's", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			result, err := migrate(cmd, file, wait)
			if report != "" {
				err = errors.Join(err, writeReport(report, func(most int) any { result.Message = cut(result.Message, most); return result }))
			}
			return err
		},
	}
	configFlag(cmd, &file)
	cmd.Flags().StringVar(&report, "report", "", "write the result as JSON to `FILE`, on success and on failure")
	cmd.Flags().DurationVar(&wait, "wait", 2*time.Minute, "how long to wait for a database that takes no connections")
	return cmd
}

func migrate(cmd *cobra.Command, file string, wait time.Duration) (status.Migration, error) {
	c, err := config.Load(file)
	if err != nil {
		return status.Migration{Reason: db.ReasonConfiguration, Message: err.Error()}, err
	}
	log := newLog(c).With("store", c.Store.Namespace+"/"+c.Store.Name, "role", "migrate")
	health, err := db.Migrate(cmd.Context(), c.Database, wait, log)
	result := status.Migration{
		Succeeded: err == nil, Reason: "Migrated", Message: fmt.Sprintf("The schema is at version %d.", health.SchemaVersion),
		SchemaVersion: health.SchemaVersion, DatabaseVersion: health.ServerVersion,
	}
	if err != nil {
		why := db.Explain(err)
		result.Reason, result.Message = why.Reason, why.Message
		return result, fmt.Errorf("%s: %s", why.Reason, why.Message)
	}
	log.Info("schema is current", "version", health.SchemaVersion, "databaseVersion", health.ServerVersion)
	return result, nil
}

// writeReport writes what of returns as a line of JSON, with messages of so
// many bytes at most that Kubernetes keeps all of it.
func writeReport(path string, of func(most int) any) error {
	for most := maxMessage; ; most /= 2 {
		line, err := json.Marshal(of(most))
		if err != nil {
			return err
		}
		if len(line) < maxReport {
			return os.WriteFile(path, append(line, '\n'), 0o644) //nolint:gosec // a report is for others to read
		}
	}
}

// cut shortens s to n bytes, at the end of a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n] + "…"
}
