// Package conditions gathers what the phases found and computes from it the
// conditions that nobody sets by hand: Ready, Reconciling and Stalled. The
// three follow kstatus: Reconciling and Stalled exist only while true.
package conditions

import (
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/outcome"
)

// order in which an unready condition is the one to tell first: causes before effects.
var order = []string{
	v1alpha1.DatabaseReadyCondition,
	v1alpha1.MigrationSucceededCondition,
	v1alpha1.CertificateReadyCondition,
	v1alpha1.RedisReadyCondition,
	v1alpha1.WorkloadsAvailableCondition,
	v1alpha1.RouteReadyCondition,
	v1alpha1.WorkersScaledCondition,
}

// advice exists only while there is something to advise, and has no part in Ready.
var advice = []string{v1alpha1.ConnectionsScarceCondition}

// Set gathers conditions during one reconcile.
type Set struct {
	found   map[string]metav1.Condition
	stalled *outcome.Error
	err     error
}

// New returns an empty Set.
func New() *Set { return &Set{found: map[string]metav1.Condition{}} }

// True records that a condition holds.
func (s *Set) True(condition, reason, message string) {
	s.put(condition, metav1.ConditionTrue, reason, message)
}

// False records that a condition does not hold (yet).
func (s *Set) False(condition, reason, message string) {
	s.put(condition, metav1.ConditionFalse, reason, message)
}

// Fail records why a phase failed under its condition; an untyped error is
// told as it is.
func (s *Set) Fail(condition string, err error) {
	reason, message := v1alpha1.ReasonError, err.Error()
	if e, ok := outcome.As(err); ok {
		reason, message = e.Reason, e.Message
	}
	s.put(condition, metav1.ConditionFalse, reason, message)
	s.Note(err)
}

// Note has an error count towards Stalled without a condition of its own.
func (s *Set) Note(err error) {
	if e, ok := outcome.As(err); ok && e.Terminal {
		if s.stalled == nil {
			s.stalled = e
		}
		return
	}
	if s.err == nil {
		s.err = err
	}
}

// Has tells whether a condition was recorded.
func (s *Set) Has(condition string) bool { _, ok := s.found[condition]; return ok }

// IsTrue tells whether a condition was recorded to hold.
func (s *Set) IsTrue(condition string) bool {
	return s.found[condition].Status == metav1.ConditionTrue
}

func (s *Set) put(condition string, status metav1.ConditionStatus, reason, message string) {
	s.found[condition] = metav1.Condition{Type: condition, Status: status, Reason: reason, Message: message}
}

// shorten has a message fit an event's note: 1024 bytes.
func shorten(message string) string {
	const most = 1024
	if len(message) <= most {
		return message
	}
	return strings.ToValidUTF8(message[:most-3], "") + "..."
}

// Write computes Ready, Reconciling and Stalled, and replaces the conditions
// of the status. Conditions that no phase recorded are removed: they do not
// apply to this Store. A transition gets the time now.
func (s *Set) Write(conditions *[]metav1.Condition, generation int64, paused bool, url string, now time.Time) {
	ready := s.ready(paused, url)
	s.found[v1alpha1.ReadyCondition] = ready
	switch {
	case paused || ready.Status == metav1.ConditionTrue:
	case s.stalled != nil:
		s.put(v1alpha1.StalledCondition, metav1.ConditionTrue, s.stalled.Reason, s.stalled.Message)
	default:
		s.put(v1alpha1.ReconcilingCondition, metav1.ConditionTrue, ready.Reason, ready.Message)
	}
	// In the order in which a person reads them: how it is, what is wrong, the parts.
	var found []metav1.Condition
	for _, t := range slices.Concat([]string{v1alpha1.ReadyCondition, v1alpha1.StalledCondition, v1alpha1.ReconcilingCondition}, order, advice) {
		if c, ok := s.found[t]; ok {
			found = append(found, c)
		}
	}
	Replace(conditions, generation, now, found...)
}

// Replace has a status hold these conditions and no others, in their order and
// of the generation. A transition gets the time now.
func Replace(conditions *[]metav1.Condition, generation int64, now time.Time, found ...metav1.Condition) {
	for i := range found {
		c := &found[i]
		c.Message = shorten(c.Message)
		c.ObservedGeneration = generation
		c.LastTransitionTime = metav1.NewTime(now)
		if was := meta.FindStatusCondition(*conditions, c.Type); was != nil && was.Status == c.Status {
			c.LastTransitionTime = was.LastTransitionTime
		}
	}
	*conditions = found
}

// ready is True when every recorded condition is, and no phase failed.
func (s *Set) ready(paused bool, url string) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ReadyCondition, Status: metav1.ConditionFalse}
	switch {
	case paused:
		c.Status, c.Reason = metav1.ConditionUnknown, v1alpha1.ReasonPaused
		c.Message = "spec.paused is true: nothing is changed until it is removed"
		return c
	case s.stalled != nil:
		c.Reason, c.Message = s.stalled.Reason, s.stalled.Message
		return c
	}
	for _, t := range order {
		if f, ok := s.found[t]; ok && f.Status != metav1.ConditionTrue {
			c.Reason, c.Message = f.Reason, t+": "+f.Message
			return c
		}
	}
	if s.err != nil {
		c.Reason, c.Message = v1alpha1.ReasonError, s.err.Error()
		if e, ok := outcome.As(s.err); ok {
			c.Reason, c.Message = e.Reason, e.Message
		}
		return c
	}
	c.Status, c.Reason, c.Message = metav1.ConditionTrue, v1alpha1.ReasonReady, "the store is served at "+url
	return c
}
