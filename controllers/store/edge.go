package store

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/diagnosis"
	"gitee.com/captainjez/gocart/controllers/internal/outcome"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
	"gitee.com/captainjez/gocart/controllers/internal/probe"
)

const (
	// nudgeInterval is how long a nudged kubelet is given: its watch of the
	// ConfigMap and its watch of the pod race, and the pod may win.
	nudgeInterval = 2 * time.Second
	// mostNudges bounds them. Later on the kubelet syncs by itself, which it
	// does every minute or so.
	mostNudges = 10
)

// deliver has running pods take a changed edge.yaml at once. A kubelet looks at
// a volume when its pod changes, so an annotation of the pod is what nudges it.
// Only a pod that tells another hash is nudged.
func (r *Reconciler) deliver(ctx context.Context, run *run) error {
	if run.store.Spec.Paused {
		return nil
	}
	pods, err := r.pods(ctx, run.store, plan.ComponentAPI)
	if err != nil {
		return err
	}
	edge := run.input.Edge
	d := r.deliveries.of(client.ObjectKeyFromObject(run.store), edge.Hash, pods)
	var asked []*corev1.Pod
	for i := range pods {
		if probe.Ready(&pods[i]) && !d.done[pods[i].UID] {
			asked = append(asked, &pods[i])
		}
	}
	var behind error
	for _, a := range probe.All(ctx, r.Prober, asked) {
		switch {
		case a.Err != nil:
			run.lookAgain = min(run.lookAgain, 5*time.Second)
			continue
		case a.Status.Edge == nil, a.Status.Edge.Hash == edge.Hash: // nil: its image knows of no edge.yaml
			d.done[a.Pod.UID] = true
			continue
		}
		again := time.Second
		if nudges(a.Pod.Annotations[plan.AnnotationEdge], edge.Hash) >= mostNudges {
			again = 10 * time.Second
		}
		run.lookAgain = min(run.lookAgain, again)
		behind = outcome.Waiting(v1alpha1.ReasonPropagating, again, "pod %s has not taken the settings of edge.yaml yet", a.Pod.Name)
		if why := a.Status.Edge.Error; why != "" {
			behind = outcome.Waiting(v1alpha1.ReasonPodRefuses, again, "pod %s refuses the settings of edge.yaml: %s", a.Pod.Name, diagnosis.Clip(why))
		}
		if err := r.nudge(ctx, run, d, a.Pod); err != nil {
			return err
		}
	}
	// Once the Store was ready, settings on their way do not take that back: a
	// policy's condition Enforced tells of them.
	if c := meta.FindStatusCondition(run.store.Status.Conditions, v1alpha1.ReadyCondition); c != nil && c.Status == "True" && c.ObservedGeneration == run.store.Generation {
		return nil
	}
	return behind
}

// nudge waits for the ConfigMap to be seen changed, so that the kubelet is not
// nudged to bring the one before.
func (r *Reconciler) nudge(ctx context.Context, run *run, d *delivery, pod *corev1.Pod) error {
	hash, now := run.input.Edge.Hash, r.Now()
	n := nudges(pod.Annotations[plan.AnnotationEdge], hash)
	if !run.configured || n >= mostNudges || now.Sub(d.nudged[pod.UID]) < nudgeInterval {
		return nil
	}
	d.nudged[pod.UID] = now
	value := hash
	if n > 0 {
		value += "." + strconv.Itoa(n+1)
	}
	if err := r.Applier.Annotate(ctx, pod, plan.AnnotationEdge, value); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("nudging the kubelet of pod %s: %w", pod.Name, err)
	}
	return nil
}

// nudges counts those that an annotation tells of.
func nudges(annotation, hash string) int {
	of, count, repeated := strings.Cut(annotation, ".")
	if of != hash {
		return 0
	}
	if n, err := strconv.Atoi(count); repeated && err == nil {
		return n
	}
	return 1
}

// deliveries remember what need not be asked again.
type deliveries struct {
	mu     sync.Mutex
	stores map[types.NamespacedName]*delivery
}

// delivery of one edge.yaml to the pods of one Store, which one reconcile at a
// time looks at.
type delivery struct {
	hash   string
	done   map[types.UID]bool
	nudged map[types.UID]time.Time
}

// of drops what was remembered of pods that are gone, and of another hash all.
func (ds *deliveries) of(store types.NamespacedName, hash string, pods []corev1.Pod) *delivery {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	fresh := &delivery{hash: hash, done: map[types.UID]bool{}, nudged: map[types.UID]time.Time{}}
	if known := ds.stores[store]; known != nil && known.hash == hash {
		for i := range pods {
			uid := pods[i].UID
			if known.done[uid] {
				fresh.done[uid] = true
			}
			if at, ok := known.nudged[uid]; ok {
				fresh.nudged[uid] = at
			}
		}
	}
	if ds.stores == nil {
		ds.stores = map[types.NamespacedName]*delivery{}
	}
	ds.stores[store] = fresh
	return fresh
}

func (ds *deliveries) forget(store types.NamespacedName) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	delete(ds.stores, store)
}
