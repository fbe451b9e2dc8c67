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
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

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
	return read[status.Status](ctx, p, podIP, "/internal/status")
}

// Jobs reads GET /internal/jobs.
func (p *HTTP) Jobs(ctx context.Context, podIP string) (status.Jobs, error) {
	return read[status.Jobs](ctx, p, podIP, "/internal/jobs")
}

// Schedule reads GET /internal/schedules/NAME.
func (p *HTTP) Schedule(ctx context.Context, podIP, name string) (status.Schedule, error) {
	return read[status.Schedule](ctx, p, podIP, "/internal/schedules/"+name)
}

func read[T any](ctx context.Context, p *HTTP, podIP, path string) (answer T, err error) {
	url := "http://" + net.JoinHostPort(podIP, strconv.Itoa(p.Port)) + path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return answer, err
	}
	resp, err := p.Client.Do(req)
	if err != nil {
		return answer, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return answer, fmt.Errorf("%s answered %s", url, resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&answer); err != nil {
		return answer, fmt.Errorf("reading the answer of %s: %w", url, err)
	}
	return answer, nil
}

// mostAsked bounds how many pods of a component are asked what any can tell.
const mostAsked = 3

// Any asks a store's ready pods in turn, those of the api first, what each of
// them can tell, until one answers. It returns nil when none is ready.
func Any[T any](ctx context.Context, c client.Reader, store types.NamespacedName, ask func(ctx context.Context, podIP string) (T, error)) (*T, error) {
	var last error
	for _, component := range []string{plan.ComponentAPI, plan.ComponentWorker} {
		var pods corev1.PodList
		if err := c.List(ctx, &pods, client.InNamespace(store.Namespace), client.MatchingLabels(plan.Selector(store.Name, component))); err != nil {
			return nil, fmt.Errorf("listing the %s pods: %w", component, err)
		}
		asked := 0
		for i := range pods.Items {
			if p := &pods.Items[i]; Ready(p) && asked < mostAsked {
				asked++
				answer, err := ask(ctx, p.Status.PodIP)
				if err == nil {
					return &answer, nil
				}
				last = fmt.Errorf("asking pod %s: %w", p.Name, err)
			}
		}
	}
	return nil, last
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
