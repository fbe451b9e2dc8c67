package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/spf13/cobra"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/pgserver"
	"gitee.com/captainjez/gocart/runtime/internal/sample"
)

type devOptions struct{ databaseURL, addr, internalAddr, dir string }

func devCommand() *cobra.Command {
	var o devOptions
	cmd := &cobra.Command{
		Use: "dev", Short: "Runs a whole store in one process, for a laptop", Args: cobra.NoArgs,
		Long: "Runs every role in one process, over plain HTTP. Without --database-url it starts a private PostgreSQL\n" +
			"from this machine's own programs and stops it at the end. Redis is a stand-in in memory.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.dir == "" {
				dir, err := devDir()
				if err != nil {
					return err
				}
				o.dir = dir
			}
			return dev(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&o.databaseURL, "database-url", "", "`URL` of a PostgreSQL database to use instead of a private one")
	cmd.Flags().StringVar(&o.addr, "addr", "127.0.0.1:8080", "`ADDRESS` of the API")
	cmd.Flags().StringVar(&o.internalAddr, "internal-addr", "127.0.0.1:0", "`ADDRESS` of health, metrics and status")
	cmd.Flags().StringVar(&o.dir, "dir", "", "`DIR` for the private database and the admin key, kept between runs")
	return cmd
}

// devDir is in the user's cache; root's is closed to the user that PostgreSQL
// must run as.
func devDir() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/tmp/gocart-dev", nil
	}
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "gocart-dev"), err
}

// ownFolder refuses a folder that somebody else made, as anybody can where
// all may write: passwords are kept in it.
func ownFolder(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || !ok || int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s is not a folder of this user: remove it, or name another with --dir", dir)
	}
	return nil
}

func dev(ctx context.Context, o devOptions, out io.Writer) (err error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	secrets := filepath.Join(o.dir, "secrets")
	if err := errors.Join(os.MkdirAll(o.dir, 0o755), ownFolder(o.dir), os.MkdirAll(secrets, 0o700)); err != nil { //nolint:gosec // PostgreSQL's user passes through
		return err
	}
	if o.databaseURL == "" {
		fmt.Fprintln(out, "Starting a private PostgreSQL ...")
		server, err := pgserver.Start(ctx, pgserver.Options{Dir: filepath.Join(o.dir, "postgres")})
		if err != nil {
			return err
		}
		defer server.Stop()
		if err := server.CreateDatabase(ctx, "gocart", ""); err != nil {
			return err
		}
		o.databaseURL = server.URL("gocart")
		as := ""
		if server.User() != "" {
			as = ", as user " + server.User()
		}
		fmt.Fprintf(out, "  in %s%s; it stops with this program\n", filepath.Join(o.dir, "postgres"), as)
	}
	redis, err := miniredis.Run()
	if err != nil {
		return err
	}
	defer redis.Close()

	c := config.Default()
	c.Store = config.Store{Name: "dev", Namespace: "local", URL: "http://" + o.addr, Mode: config.ModeDevelopment, Locale: c.Store.Locale}
	c.Server.Public.Address, c.Server.Internal.Address = o.addr, o.internalAddr
	c.Server.DrainTimeout = config.Duration(time.Second)
	c.Log.Level = "warn"
	c.Database.URIFile = filepath.Join(secrets, "database-uri")
	c.Redis = &config.Redis{URLFile: filepath.Join(secrets, "redis-url")}
	c.Auth.AdminKeyFile, c.Auth.TokenKeyFile = filepath.Join(secrets, "admin-key"), filepath.Join(secrets, "token-key")
	c.EdgeFile = filepath.Join(o.dir, "edge.yaml")
	c.Payments.Test = true
	c.Webhooks.AllowPrivateAddresses = true
	if err := errors.Join(
		os.WriteFile(c.Database.URIFile, []byte(o.databaseURL), 0o600),
		os.WriteFile(c.Redis.URLFile, []byte("redis://"+redis.Addr()), 0o600),
		keep(c.Auth.AdminKeyFile, "sk_live_"+rand.Text()),
		keep(c.Auth.TokenKeyFile, rand.Text()+rand.Text()),
		keep(c.EdgeFile, "# Taken over as soon as it is saved. A laptop has no limits.\nlimits: {address: [], apiKey: [], protection: {mode: \"off\"}}"),
	); err != nil {
		return err
	}
	if _, err := db.Migrate(ctx, c.Database, 10*time.Second, log); err != nil {
		return errors.New(db.Explain(err).Message)
	}
	p, err := newProcess(c, "dev", roles{api: true, worker: true}, log)
	if err != nil {
		return err
	}
	seeded, err := sample.Seed(ctx, p.commerce)
	if err != nil {
		return err
	}
	if seeded > 0 {
		fmt.Fprintf(out, "Seeded %d sample products with stock, tax and shipping.\n", seeded)
	}
	addrs := p.addrs()
	fmt.Fprintf(out, "\n  Store      http://%s/products\n  Docs       http://%s/docs\n  Status     http://%s/internal/status\n  Admin key  %s\n  Limits     %s\n\n"+
		"Redis is a stand-in in memory. Press Ctrl-C to stop.\n", addrs[1], addrs[1], addrs[0], c.Auth.AdminKeyFile, c.EdgeFile)
	return p.run(ctx)
}

// keep writes a file unless there is one.
func keep(path, text string) error {
	_, err := os.Stat(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(path, []byte(text+"\n"), 0o600)
}
