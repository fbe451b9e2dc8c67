// Package probe asks a store's pods what they see, on their internal port.
package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"gitee.com/captainjez/gocart/controllers/internal/plan"
	"gitee.com/captainjez/gocart/runtime/status"
)

// Prober asks a pod what it sees.
type Prober interface {
	Status(ctx context.Context, podIP string) (status.Status, error)
}

// HTTP asks a pod's internal port.
type HTTP struct {
	Client *http.Client
	Port   int
}

// NewHTTP returns a Prober that gives a pod two seconds.
func NewHTTP() *HTTP {
	return &HTTP{
		// Pods come and go: no connection is kept.
		Client: &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
		Port:   plan.InternalPort,
	}
}

// Status reads GET /internal/status.
func (p *HTTP) Status(ctx context.Context, podIP string) (status.Status, error) {
	url := "http://" + net.JoinHostPort(podIP, strconv.Itoa(p.Port)) + "/internal/status"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return status.Status{}, err
	}
	resp, err := p.Client.Do(req)
	if err != nil {
		return status.Status{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return status.Status{}, fmt.Errorf("%s answered %s", url, resp.Status)
	}
	var s status.Status
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&s); err != nil {
		return status.Status{}, fmt.Errorf("reading the answer of %s: %w", url, err)
	}
	return s, nil
}

// Ready tells whether a pod serves and can be asked.
func Ready(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue && p.DeletionTimestamp.IsZero() && p.Status.PodIP != ""
		}
	}
	return false
}

// Answer is what a pod told; Err says why it told nothing.
type Answer struct {
	Pod    *corev1.Pod
	Status status.Status
	Err    error
}

// atOnce bounds how many pods are asked at the same time.
const atOnce = 16

// All asks pods at the same time. The answers are in the pods' order.
func All(ctx context.Context, p Prober, pods []*corev1.Pod) []Answer {
	answers := make([]Answer, len(pods))
	var wait sync.WaitGroup
	turns := make(chan struct{}, atOnce)
	for i, pod := range pods {
		turns <- struct{}{}
		wait.Go(func() {
			defer func() { <-turns }()
			answers[i].Pod = pod
			answers[i].Status, answers[i].Err = p.Status(ctx, pod.Status.PodIP)
		})
	}
	wait.Wait()
	return answers
}
