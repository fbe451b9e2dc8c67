package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/api"
	"gitee.com/captainjez/gocart/runtime/internal/cache"
	"gitee.com/captainjez/gocart/runtime/internal/commerce"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/edge"
	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/httpserver"
	"gitee.com/captainjez/gocart/runtime/internal/jobs"
	"gitee.com/captainjez/gocart/runtime/internal/observe"
	"gitee.com/captainjez/gocart/runtime/internal/realtime"
	"gitee.com/captainjez/gocart/runtime/internal/redisdb"
	"gitee.com/captainjez/gocart/runtime/internal/webhook"
	"gitee.com/captainjez/gocart/runtime/status"
	"gitee.com/captainjez/gocart/runtime/version"
)

// roles are what one process does.
type roles struct{ api, worker bool }

// process is a store's runtime, wired and not yet running.
type process struct {
	role        string
	pools       *db.Pools
	redis       *redisdb.Redis
	answers     *cache.Cache
	commerce    *commerce.Commerce
	edge        *edge.Edge
	certificate *httpserver.Certificate
	worker      *jobs.Worker
	relay       *events.Relay
	hooks       *webhook.Dispatcher
	sockets     *realtime.Hub
	feed        *events.Feed
	server      *httpserver.Server
}

// newProcess wires the roles and opens their ports. It connects to nothing.
func newProcess(c config.Config, role string, r roles, log *slog.Logger) (_ *process, err error) {
	log = log.With("store", c.Store.Namespace+"/"+c.Store.Name, "role", role)
	log.Info("starting", "version", version.Version)
	metrics := observe.NewRegistry()
	p := &process{role: role}
	if p.pools, err = db.Open(c.Database, "gocart "+role); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.pools.Close()
		}
	}()
	observe.Pool(metrics, p.pools.Main)

	if c.Redis != nil {
		if p.redis, err = redisdb.Open(*c.Redis, c.Store, log, metrics); err != nil {
			return nil, err
		}
	}
	if p.redis != nil && c.Cache.Enabled {
		p.answers = cache.New(p.redis, time.Duration(c.Cache.TTL), metrics)
	}
	if p.commerce, err = commerce.New(c, p.pools.Main, p.answers, log, commerce.Now); err != nil {
		return nil, err
	}
	p.commerce.Register(metrics)
	p.relay = events.NewRelay(p.commerce.Events, p.redis, log, metrics)
	p.relay.Also(func(ctx context.Context, all []events.Published) {
		p.commerce.Webhooks.Wake()
		p.commerce.Catalog.Forget(ctx, all)
	})
	var public *httpserver.Public
	if r.api {
		if p.edge, err = edge.Open(edge.Options{File: c.EdgeFile, Redis: p.redis, Caller: api.Caller, Log: log, Metrics: metrics}); err != nil {
			return nil, err
		}
		if t := c.Server.Public.TLS; t != nil {
			p.certificate = httpserver.NewCertificate(*t, log)
		}
		engine, err := api.New(c, p.edge, p.commerce, log, metrics)
		if err != nil {
			return nil, err
		}
		if p.sockets, err = api.Sockets(engine, p.commerce, p.redis, log, metrics); err != nil {
			return nil, err
		}
		p.feed = events.NewFeed(p.commerce.Events, p.redis, p.relay, log, p.sockets)
		public = &httpserver.Public{Engine: engine, Settings: p.edge.Secure, Certificate: p.certificate, Drain: p.sockets.Drain}
	}
	ready := []func(context.Context) error{p.pools.Ready, p.certificate.Ready}
	if p.sockets != nil {
		ready = append(ready, p.sockets.Ready)
	}
	work, slots := jobs.NewUpkeep, webhook.OtherSlots
	if r.worker {
		work, slots = jobs.NewWorker, webhook.WorkerSlots
	}
	p.hooks = webhook.NewDispatcher(p.commerce.Webhooks, slots, log, metrics)
	p.worker = work(c, jobs.Options{
		Pool: p.pools.Main, Kinds: p.commerce.Kinds, Queue: p.commerce.Queue, Log: log, Metrics: metrics, Now: commerce.Now,
	})
	internal := &httpserver.Internal{
		Ready:   ready,
		Status:  p.status,
		Jobs:    p.commerce.Jobs,
		Metrics: metrics,
	}
	p.server, err = httpserver.Listen(c, public, internal, log)
	return p, err
}

// run serves until ctx ends and everything in flight is finished.
func (p *process) run(ctx context.Context) error {
	defer p.pools.Close()
	group, ctx := errgroup.WithContext(ctx)
	// What requests need outlives ctx: it goes when the server has drained.
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error {
		defer stopBackground()
		return p.server.Run(ctx)
	})
	if p.redis != nil {
		group.Go(func() error { p.redis.Run(background); return nil })
		group.Go(func() error { p.answers.Run(background); return nil })
	}
	if p.edge != nil {
		group.Go(func() error { p.edge.Run(background); return nil })
	}
	if p.certificate != nil {
		group.Go(func() error { p.certificate.Watch(background); return nil })
	}
	group.Go(func() error { p.relay.Run(background); return nil })
	if p.sockets != nil {
		group.Go(func() error { p.feed.Run(background, p.sockets.Remembered()); return nil })
		group.Go(func() error { p.sockets.Run(background); return nil })
	}
	group.Go(func() error { p.hooks.Run(ctx); return nil })
	group.Go(func() error { p.commerce.Statistics.Run(ctx); return nil })
	group.Go(func() error { return p.worker.Run(ctx) })
	if err := group.Wait(); err != nil {
		return fmt.Errorf("%s: %w", p.role, err)
	}
	return nil
}

func (p *process) addrs() []net.Addr { return p.server.Addrs() }

func (p *process) status(ctx context.Context) status.Status {
	s := status.Status{Role: p.role, Version: version.Version, Redis: p.redis.Status(), Certificate: p.certificate.Status(), Edge: p.edge.Status()}
	h, err := p.pools.Check(ctx)
	s.Database = status.Dependency{Reachable: err == nil, Version: h.ServerVersion}
	if err != nil {
		s.Database.Error = db.Explain(err).Message
	} else {
		s.Database.Connections = p.pools.Connections(h)
	}
	return s
}
