package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/audit"
	"gitee.com/captainjez/gocart/runtime/internal/commerce"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/jobs"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/status"
)

// jobRequest are the flags of enqueue and run-job.
type jobRequest struct {
	file, payload, queue, schedule, key, report string
	maxAttempts                                 int
	timeout, jitter                             time.Duration
}

func (r *jobRequest) flags(cmd *cobra.Command) {
	configFlag(cmd, &r.file)
	f := cmd.Flags()
	f.StringVar(&r.payload, "payload", "{}", "what the job is given: a `JSON` object, see gocart jobs kinds")
	f.StringVar(&r.queue, "queue", "", "`QUEUE` high, normal or low; the kind's when left out")
	f.IntVar(&r.maxAttempts, "max-attempts", 0, "how often the job is tried; the kind's when left out")
	f.DurationVar(&r.timeout, "timeout", 0, "how long an attempt may take; the kind's when left out")
	f.DurationVar(&r.jitter, "jitter", 0, "begin a random time later, this at most")
	f.StringVar(&r.schedule, "schedule", "", "`NAME` of the JobSchedule that asks")
	f.StringVar(&r.key, "key", "", "`NAME` of the request: asked again with it, there is still one job")
	f.StringVar(&r.report, "report", "", "write the result as JSON to `FILE`, on success and on failure")
}

func (r *jobRequest) request(kind string, now time.Time) jobs.Request {
	request := jobs.Request{
		Kind: kind, Payload: json.RawMessage(r.payload), Queue: r.queue, MaxAttempts: r.maxAttempts, Timeout: r.timeout, Schedule: r.schedule, Key: r.key,
	}
	if r.jitter > 0 {
		request.At = now.Add(rand.N(r.jitter)) //nolint:gosec // it only spreads
	}
	return request
}

func enqueueCommand() *cobra.Command {
	var r jobRequest
	var payloads string
	cmd := jobCommand(&r, "enqueue", "Has the store's workers work a job", "Prints the job's id once it is stored. Of an unknown kind or a wrong payload nothing is stored.",
		func(ctx context.Context, d *desk, r jobs.Request) (jobs.Entry, error) { return d.enqueue(ctx, r) })
	cmd.Flags().StringVar(&payloads, "payloads", "", "enqueue a job for each line of `FILE`, a payload each, all or none; - for standard input")
	cmd.MarkFlagsMutuallyExclusive("payloads", "payload")
	cmd.MarkFlagsMutuallyExclusive("payloads", "key")
	cmd.MarkFlagsMutuallyExclusive("payloads", "report")
	one := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if payloads == "" {
			return one(cmd, args)
		}
		return enqueueMany(cmd, &r, args[0], payloads)
	}
	return cmd
}

// enqueueMany enqueues a job a line, in one transaction.
func enqueueMany(cmd *cobra.Command, r *jobRequest, kind, file string) error {
	in := cmd.InOrStdin()
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	n, err := atDesk(r.file, "enqueue", func(d *desk) (n int, err error) {
		err = db.WithTx(cmd.Context(), d.pools.Main, func(tx pgx.Tx) error {
			lines := bufio.NewScanner(in)
			lines.Buffer(nil, 1<<20)
			for n = 0; lines.Scan(); n++ {
				request := r.request(kind, commerce.Now())
				request.Payload = bytes.Clone(lines.Bytes())
				if _, err := d.commerce.Jobs.Enqueue(cmd.Context(), tx, request); err != nil {
					return fmt.Errorf("line %d: %w", n+1, err)
				}
			}
			return lines.Err()
		})
		return n, err
	})
	if err == nil {
		fmt.Fprintf(cmd.OutOrStdout(), "%d jobs of kind %s are enqueued\n", n, kind)
	}
	return err
}

func runJobCommand() *cobra.Command {
	var r jobRequest
	return jobCommand(&r, "run-job", "Works a job in this process", "Tries it as often as its kind says, and fails where it is dead in the end.",
		func(ctx context.Context, d *desk, r jobs.Request) (jobs.Entry, error) { return d.run(ctx, r) })
}

func jobCommand(r *jobRequest, name, short, long string, do func(context.Context, *desk, jobs.Request) (jobs.Entry, error)) *cobra.Command {
	cmd := &cobra.Command{
		Use: name + " KIND --config FILE", Short: short, Long: long, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var result status.Enqueued
			e, err := atDesk(r.file, name, func(d *desk) (jobs.Entry, error) { return do(cmd.Context(), d, r.request(args[0], commerce.Now())) })
			if e.ID != 0 {
				result.Job = &e.Job
				fmt.Fprintf(cmd.OutOrStdout(), "job %d of kind %s is %s\n", e.ID, e.Kind, e.State)
			}
			if err != nil {
				result.Error = err.Error()
			}
			if r.report != "" {
				err = errors.Join(err, report(r.report, result))
			}
			return err
		},
	}
	r.flags(cmd)
	return cmd
}

// report writes what became of a job, cut to what Kubernetes keeps.
func report(path string, e status.Enqueued) error {
	return writeReport(path, func(most int) any {
		e.Error = cut(e.Error, most)
		if e.Job != nil {
			e.Job.Error = cut(e.Job.Error, most)
		}
		return e
	})
}

// desk is where jobs are asked for and about by hand.
type desk struct {
	config   config.Config
	pools    *db.Pools
	commerce *commerce.Commerce
	log      *slog.Logger
}

// atDesk opens the store's database for as long as do takes.
func atDesk[T any](file, role string, do func(*desk) (T, error)) (T, error) {
	var none T
	c, err := config.Load(file)
	if err != nil {
		return none, err
	}
	d := &desk{config: c, log: newLog(c).With("store", c.Store.Namespace+"/"+c.Store.Name, "role", role)}
	if d.pools, err = db.Open(c.Database, "gocart "+role); err != nil {
		return none, err
	}
	defer d.pools.Close()
	if d.commerce, err = commerce.New(c, d.pools.Main, nil, d.log, commerce.Now); err != nil {
		return none, err
	}
	v, err := do(d)
	return v, explained(err)
}

// explained says for people what a request or a database refuses.
func explained(err error) error {
	p, refused := errors.AsType[*problem.Problem](err)
	switch {
	case err == nil:
		return nil
	case !refused:
		if why := db.Explain(err); why.Reason != db.ReasonOther {
			return errors.New(why.Message)
		}
		return err
	}
	message := p.Detail
	for _, f := range p.Errors {
		message += fmt.Sprintf("\n  %s %s", f.Pointer, f.Detail)
	}
	return errors.New(strings.Replace(err.Error(), p.Error(), message, 1))
}

func (d *desk) enqueue(ctx context.Context, r jobs.Request) (e jobs.Entry, err error) {
	err = db.WithTx(ctx, d.pools.Main, func(tx pgx.Tx) error {
		e, err = d.commerce.Jobs.Enqueue(ctx, tx, r)
		return err
	})
	if err != nil {
		return jobs.Entry{}, err // what was not committed is not there
	}
	return e, nil
}

// run works a job in this process. It has a queue of its own, so that no other
// worker takes it; where this one dies, the job is dead.
func (d *desk) run(ctx context.Context, r jobs.Request) (jobs.Entry, error) {
	return jobs.RunOne(ctx, d.config, jobs.Options{
		Pool: d.pools.Main, Kinds: d.commerce.Kinds, Queue: d.commerce.Queue, Log: d.log, Metrics: prometheus.NewRegistry(), Now: commerce.Now,
	}, d.commerce.Jobs, r)
}

func jobsCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{Use: "jobs", Short: "Shows background jobs, and has dead ones worked again"}
	cmd.PersistentFlags().StringVar(&file, "config", "", "configuration `FILE` (YAML)")
	if err := cmd.MarkPersistentFlagRequired("config"); err != nil {
		panic(err)
	}
	with := func(do func(*cobra.Command, []string, *jobs.Ledger, *commerce.Commerce) error) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, args []string) error {
			cmd.SetContext(audit.Acting(cmd.Context(), audit.Act{Actor: "command", Action: "gocart jobs " + cmd.Name()}))
			_, err := atDesk(file, "jobs", func(d *desk) (any, error) { return nil, do(cmd, args, d.commerce.Jobs, d.commerce) })
			return err
		}
	}
	cmd.AddCommand(listJobsCommand(with), &cobra.Command{
		Use: "show ID", Short: "Shows a job with its payload and the failures of its attempts", Args: cobra.ExactArgs(1),
		RunE: with(func(cmd *cobra.Command, args []string, l *jobs.Ledger, _ *commerce.Commerce) error {
			id, err := jobID(args[0])
			if err != nil {
				return err
			}
			e, err := l.Get(cmd.Context(), id)
			if err != nil {
				return err
			}
			out := json.NewEncoder(cmd.OutOrStdout())
			out.SetIndent("", "  ")
			return out.Encode(e.Public())
		}),
	}, &cobra.Command{
		Use: "retry ID|all", Short: "Has a job, or all dead jobs, worked again at once", Args: cobra.ExactArgs(1),
		RunE: with(func(cmd *cobra.Command, args []string, l *jobs.Ledger, _ *commerce.Commerce) error {
			if args[0] == "all" {
				n, err := l.RetryDead(cmd.Context(), kindFlag(cmd))
				fmt.Fprintf(cmd.OutOrStdout(), "%d dead jobs are worked again\n", n)
				return err
			}
			id, err := jobID(args[0])
			if err != nil {
				return err
			}
			if _, err = l.Retry(cmd.Context(), id); err == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "job %d is worked again\n", id)
			}
			return err
		}),
	}, &cobra.Command{
		Use: "purge", Short: "Forgets all dead jobs", Args: cobra.NoArgs,
		RunE: with(func(cmd *cobra.Command, _ []string, l *jobs.Ledger, _ *commerce.Commerce) error {
			n, err := l.PurgeDead(cmd.Context(), kindFlag(cmd))
			fmt.Fprintf(cmd.OutOrStdout(), "%d dead jobs are forgotten\n", n)
			return err
		}),
	}, &cobra.Command{
		Use: "queues", Short: "Tells how much there is to do", Args: cobra.NoArgs,
		RunE: with(func(cmd *cobra.Command, _ []string, l *jobs.Ledger, _ *commerce.Commerce) error {
			all, err := l.Queues(cmd.Context())
			if err != nil {
				return err
			}
			return table(cmd.OutOrStdout(), "QUEUE\tWAITING\tRUNNING\tOLDEST", func(row func(string, ...any)) {
				for _, q := range all.Queues {
					row("%s\t%d\t%d\t%s", q.Name, q.Waiting, q.Running, time.Duration(q.OldestSeconds*float64(time.Second)).Round(time.Second))
				}
			})
		}),
	}, &cobra.Command{
		Use: "kinds", Short: "Lists the kinds of jobs and what they are given, as JSON Schema", Args: cobra.NoArgs,
		RunE: with(func(cmd *cobra.Command, _ []string, _ *jobs.Ledger, k *commerce.Commerce) error {
			list, err := k.Kinds.Public()
			if err != nil {
				return err
			}
			return table(cmd.OutOrStdout(), "KIND\tQUEUE\tATTEMPTS\tWHAT IT DOES\tPAYLOAD", func(row func(string, ...any)) {
				for _, k := range list.Kinds {
					row("%s\t%s\t%d\t%s\t%s", k.Name, k.Queue, k.MaxAttempts, k.Description, k.PayloadSchema)
				}
			})
		}),
	})
	for _, c := range cmd.Commands() {
		if c.Name() == "retry" || c.Name() == "purge" {
			c.Flags().String("kind", "", "only jobs of this `KIND`")
		}
	}
	return cmd
}

func kindFlag(cmd *cobra.Command) string { return cmd.Flag("kind").Value.String() }

func jobID(arg string) (int64, error) {
	id, err := strconv.ParseInt(arg, 10, 64)
	if err != nil || id < 1 {
		return 0, fmt.Errorf("%q is no job's id: see gocart jobs list", arg)
	}
	return id, nil
}

func listJobsCommand(with func(func(*cobra.Command, []string, *jobs.Ledger, *commerce.Commerce) error) func(*cobra.Command, []string) error) *cobra.Command {
	var f jobs.Filter
	var most int
	list := &cobra.Command{
		Use: "list", Short: "Lists jobs, the newest first", Args: cobra.NoArgs,
		RunE: with(func(cmd *cobra.Command, _ []string, l *jobs.Ledger, _ *commerce.Commerce) error {
			if err := f.Check(); err != nil {
				return err
			}
			found, err := l.List(cmd.Context(), f, math.MaxInt64, most)
			if err != nil {
				return err
			}
			return table(cmd.OutOrStdout(), "ID\tKIND\tQUEUE\tSTATE\tATTEMPT\tCREATED\tERROR", func(row func(string, ...any)) {
				for _, e := range found {
					row("%d\t%s\t%s\t%s\t%d/%d\t%s\t%s", e.ID, e.Kind, e.Queue, e.State, e.Attempt, e.MaxAttempts, e.CreatedAt.Format(time.RFC3339), firstLine(e.Error))
				}
			})
		}),
	}
	list.Flags().StringVar(&f.State, "state", "", "only jobs in this `STATE`: scheduled, available, running, retryable, completed or dead")
	list.Flags().StringVar(&f.Kind, "kind", "", "only jobs of this `KIND`")
	list.Flags().StringVar(&f.Queue, "queue", "", "only jobs in this `QUEUE`")
	list.Flags().IntVar(&most, "limit", 20, "how many at most")
	return list
}

func table(out io.Writer, head string, rows func(row func(format string, args ...any))) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, head)
	rows(func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) })
	return w.Flush()
}

func firstLine(s string) string {
	for i, r := range s {
		if r == '\n' {
			return s[:i] + " ..."
		}
	}
	return s
}
