package store

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/outcome"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
)

func (r *Reconciler) pods(ctx context.Context, s *v1alpha1.Store, component string) ([]corev1.Pod, error) {
	var pods corev1.PodList
	err := r.Client.List(ctx, &pods, client.InNamespace(s.Namespace), client.MatchingLabels(plan.Selector(s.Name, component)))
	if err != nil {
		return nil, fmt.Errorf("listing the %s pods: %w", component, err)
	}
	return pods.Items, nil
}

// diagnose says why a component's pods are not ready, the plainest cause
// first; with no cause to see, it says the given words. A watch tells when the
// pods change, so nothing is asked again before.
func (r *Reconciler) diagnose(ctx context.Context, s *v1alpha1.Store, component, reason, otherwise string) error {
	pods, err := r.pods(ctx, s, component)
	if err != nil {
		return err
	}
	for i := range pods {
		if reason, message := podTrouble(&pods[i]); reason != "" {
			return outcome.Waiting(reason, 0, "%s", message)
		}
	}
	return outcome.Waiting(reason, 0, "%s", otherwise)
}

// podTrouble is what keeps a pod from becoming ready by itself; empty for nothing.
func podTrouble(p *corev1.Pod) (reason, message string) {
	if !p.DeletionTimestamp.IsZero() {
		return "", ""
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			return v1alpha1.ReasonUnschedulable, fmt.Sprintf("pod %s fits on no node: %s", p.Name, c.Message)
		}
	}
	for _, c := range p.Status.ContainerStatuses {
		w := c.State.Waiting
		if w == nil {
			continue
		}
		switch w.Reason {
		case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull":
			return v1alpha1.ReasonImagePullFailed, fmt.Sprintf("pod %s can not get image %s: %s", p.Name, c.Image, clip(w.Message))
		case "CrashLoopBackOff":
			return v1alpha1.ReasonCrashLooping, fmt.Sprintf("pod %s ends again and again: %s", p.Name, lastWords(c))
		case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
			return v1alpha1.ReasonPodsNotReady, fmt.Sprintf("pod %s can not start: %s", p.Name, clip(w.Message))
		}
	}
	return "", ""
}

// lastWords of a container that ended. The runtime's hold no secret; a
// server's are not ours to vouch for, so only the exit code is told of those.
func lastWords(c corev1.ContainerStatus) string {
	t := c.LastTerminationState.Terminated
	if t == nil {
		t = c.State.Terminated
	}
	if t == nil {
		return "see kubectl logs"
	}
	if c.Name == plan.ComponentPostgres || c.Name == plan.ComponentRedis || t.Message == "" {
		return fmt.Sprintf("%s, exit code %d; see kubectl logs", t.Reason, t.ExitCode)
	}
	return clip(t.Message)
}

func clip(s string) string {
	const most = 400
	s = strings.TrimSpace(s)
	if len(s) > most {
		return "..." + strings.ToValidUTF8(s[len(s)-most:], "")
	}
	return s
}
