// Command gocart runs a store: its commerce API, its background jobs and its
// migrations. Every role reads the same configuration (runtime/config).
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // the image has no files but this program

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/spf13/cobra"
	_ "golang.org/x/crypto/x509roots/fallback" // nor root certificates

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/redisdb"
	"gitee.com/captainjez/gocart/runtime/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	gin.SetMode(gin.ReleaseMode)
	uuid.EnableRandPool() // identifiers are no secrets
	redisdb.QuietClient()
	if err := rootCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "gocart:", err)
		os.Exit(1) //nolint:gocritic // the signals end with the process
	}
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use: "gocart", Short: "Runs an online store", SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.AddCommand(apiCommand(), workerCommand(), migrateCommand(), enqueueCommand(), runJobCommand(), jobsCommand(), listenCommand(), importCommand(), exportCommand(), devCommand(), &cobra.Command{
		Use: "version", Short: "Prints the version", Args: cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), version.Version) },
	})
	return root
}

func apiCommand() *cobra.Command {
	return roleCommand("api", "Serves the commerce API", roles{api: true})
}

func workerCommand() *cobra.Command {
	return roleCommand("worker", "Works the background jobs", roles{worker: true})
}

func roleCommand(name, short string, r roles) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: name + " --config FILE", Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(file)
			if err != nil {
				return err
			}
			log := newLog(c)
			limitMemory(log)
			p, err := newProcess(c, name, r, log)
			if err != nil {
				return err
			}
			return p.run(cmd.Context())
		},
	}
	configFlag(cmd, &file)
	return cmd
}

func configFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "config", "", "configuration `FILE` (YAML)")
	if err := cmd.MarkFlagRequired("config"); err != nil {
		panic(err)
	}
}

func newLog(c config.Config) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Log.Level)); err != nil {
		level = slog.LevelInfo // a validated configuration has a level
	}
	return slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}
