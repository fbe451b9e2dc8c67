package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"gitee.com/captainjez/gocart/runtime/internal/rawhttp"
)

// work is what one caller does once.
type work func(c *rawhttp.Conn) error

// expect sends a request and wants a status.
func expect(c *rawhttp.Conn, request []byte, status int) error {
	_, err := fetch(c, request, status, false)
	return err
}

// fetch is expect, with the body where that is to be kept.
func fetch(c *rawhttp.Conn, request []byte, status int, keep bool) ([]byte, error) {
	got, body, err := c.Do(request, keep)
	if err == nil && got != status {
		err = fmt.Errorf("answered %d: %.300s", got, body)
	}
	return body, err
}

// drive lets callers work for a while, as fast as they can or, with a rate
// above zero, so many times a second in all; then latency counts from the
// moment at which each was due.
func drive(ctx context.Context, addr string, callers int, length time.Duration, rate float64, make func(caller int) work) (result, error) {
	var mu sync.Mutex
	var all []time.Duration
	var failed error
	var wg sync.WaitGroup
	begin := time.Now()
	for i := range callers {
		wg.Go(func() {
			latencies, err := call(ctx, addr, begin, length, rate/float64(callers), float64(i)/float64(callers), make(i))
			mu.Lock()
			defer mu.Unlock()
			all, failed = append(all, latencies...), errors.Join(failed, err)
		})
	}
	wg.Wait()
	took := time.Since(begin)
	if failed != nil || len(all) == 0 {
		return result{}, errors.Join(failed, ctx.Err())
	}
	slices.Sort(all)
	at := func(share float64) time.Duration { return all[min(len(all)-1, int(share*float64(len(all))))] }
	return result{rate: float64(len(all)) / took.Seconds(), p50: at(.5), p95: at(.95), p99: at(.99)}, nil
}

func call(ctx context.Context, addr string, begin time.Time, length time.Duration, rate, phase float64, do work) (latencies []time.Duration, err error) {
	c, err := rawhttp.Dial(addr, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	for n := 0; ctx.Err() == nil && time.Since(begin) < length; n++ {
		due := time.Now()
		if rate > 0 {
			due = begin.Add(time.Duration((float64(n) + phase) / rate * float64(time.Second)))
			select {
			case <-time.After(time.Until(due)):
			case <-ctx.Done():
				return latencies, ctx.Err()
			}
		}
		if err := do(c); err != nil {
			return latencies, err
		}
		latencies = append(latencies, time.Since(due))
	}
	return latencies, nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// await returns when something listens.
func await(ctx context.Context, addr string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(30 * time.Second); ; {
		if c, err := net.Dial("tcp", addr); err == nil {
			return c.Close()
		}
		select {
		case <-tick.C:
		case <-deadline:
			return errors.New("the server does not listen")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
