// Package diagnosis says in a person's words what keeps a pod from running.
package diagnosis

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
)

// Pod says what keeps a pod from running by itself; empty for nothing.
func Pod(p *corev1.Pod) (reason, message string) {
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
			return v1alpha1.ReasonImagePullFailed, fmt.Sprintf("pod %s can not get image %s: %s", p.Name, c.Image, Clip(w.Message))
		case "CrashLoopBackOff":
			return v1alpha1.ReasonCrashLooping, fmt.Sprintf("pod %s ends again and again: %s", p.Name, lastWords(c))
		case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
			return v1alpha1.ReasonPodsNotReady, fmt.Sprintf("pod %s can not start: %s", p.Name, Clip(w.Message))
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
	return Clip(t.Message)
}

// Clip keeps the end of what a program said, for a condition's message.
func Clip(s string) string {
	const most = 400
	s = strings.TrimSpace(s)
	if len(s) > most {
		return "..." + strings.ToValidUTF8(s[len(s)-most:], "")
	}
	return s
}
