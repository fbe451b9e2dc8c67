package conditions_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/conditions"
	"gitee.com/captainjez/gocart/controllers/internal/outcome"
)

const url = "https://shop.example.com"

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestReadyIsComputed(t *testing.T) {
	terminal := outcome.Terminal(v1alpha1.ReasonSecretNotFound, "Secret a/b does not exist")
	waiting := outcome.Waiting(v1alpha1.ReasonProgressing, 0, "the pod is starting")
	for _, c := range []struct {
		name   string
		find   func(*conditions.Set)
		paused bool
		want   string
	}{
		{"everything holds", func(s *conditions.Set) { s.True(v1alpha1.DatabaseReadyCondition, "Ready", "") }, false,
			"Ready=True Ready: the store is served at " + url},
		{"a condition does not hold", func(s *conditions.Set) { s.Fail(v1alpha1.RedisReadyCondition, waiting) }, false,
			"Ready=False Progressing: RedisReady: the pod is starting|Reconciling=True Progressing"},
		{"of several, the cause comes before the effect", func(s *conditions.Set) {
			s.False(v1alpha1.WorkloadsAvailableCondition, v1alpha1.ReasonWaiting, "waits for the migration")
			s.Fail(v1alpha1.DatabaseReadyCondition, waiting)
		}, false,
			"Ready=False Progressing: DatabaseReady: the pod is starting|Reconciling=True Progressing"},
		{"a terminal failure stalls, whatever else is on its way", func(s *conditions.Set) {
			s.Fail(v1alpha1.DatabaseReadyCondition, waiting)
			s.Fail(v1alpha1.CertificateReadyCondition, terminal)
		}, false,
			"Ready=False SecretNotFound: Secret a/b does not exist|Stalled=True SecretNotFound"},
		{"a failure without a condition of its own counts", func(s *conditions.Set) {
			s.True(v1alpha1.DatabaseReadyCondition, "Ready", "")
			s.Note(outcome.Waiting(v1alpha1.ReasonAPIMissing, 0, "the cluster has no x/v1"))
		}, false,
			"Ready=False APIMissing: the cluster has no x/v1|Reconciling=True APIMissing"},
		{"an untyped error is told as it is", func(s *conditions.Set) { s.Note(errors.New("connection refused")) }, false,
			"Ready=False Error: connection refused|Reconciling=True Error"},
		{"a wrapped failure keeps its reason", func(s *conditions.Set) { s.Fail(v1alpha1.RouteReadyCondition, fmt.Errorf("applying: %w", terminal)) }, false,
			"Ready=False SecretNotFound: Secret a/b does not exist|Stalled=True SecretNotFound"},
		{"a paused Store is neither ready nor stalled", func(s *conditions.Set) { s.Fail(v1alpha1.DatabaseReadyCondition, terminal) }, true,
			"Ready=Unknown Paused: spec.paused is true: nothing is changed until it is removed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := conditions.New()
			c.find(s)
			var written []metav1.Condition
			s.Write(&written, 7, c.paused, url, now)
			if got := summary(written); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			for _, w := range written {
				if w.ObservedGeneration != 7 || !w.LastTransitionTime.Time.Equal(now) {
					t.Errorf("%s speaks of generation %d since %s", w.Type, w.ObservedGeneration, w.LastTransitionTime)
				}
			}
		})
	}
}

// kstatus: a condition of an abnormal state exists only while it is true.
func TestReconcilingAndStalledExistOnlyWhileTrue(t *testing.T) {
	var written []metav1.Condition
	step := func(generation int64, find func(*conditions.Set)) {
		s := conditions.New()
		find(s)
		s.Write(&written, generation, false, url, now)
	}
	has := func(condition string) bool { return meta.FindStatusCondition(written, condition) != nil }

	step(1, func(s *conditions.Set) { s.False(v1alpha1.DatabaseReadyCondition, "Progressing", "starting") })
	if !has(v1alpha1.ReconcilingCondition) || has(v1alpha1.StalledCondition) {
		t.Errorf("on its way: %s", types(written))
	}
	step(1, func(s *conditions.Set) {
		s.Fail(v1alpha1.DatabaseReadyCondition, outcome.Terminal("SecretNotFound", "gone"))
	})
	if has(v1alpha1.ReconcilingCondition) || !has(v1alpha1.StalledCondition) {
		t.Errorf("stalled: %s", types(written))
	}
	step(2, func(s *conditions.Set) { s.True(v1alpha1.DatabaseReadyCondition, "Ready", "") })
	if has(v1alpha1.ReconcilingCondition) || has(v1alpha1.StalledCondition) {
		t.Errorf("ready: %s", types(written))
	}
}

func TestConditionsAreReadFromTheTop(t *testing.T) {
	var written []metav1.Condition
	for _, database := range []error{nil, outcome.Waiting("Progressing", 0, "starting"), outcome.Terminal("SecretNotFound", "gone")} {
		s := conditions.New()
		s.True(v1alpha1.RouteReadyCondition, "Served", "")
		s.True(v1alpha1.DatabaseReadyCondition, "Ready", "")
		if database != nil {
			s.Fail(v1alpha1.DatabaseReadyCondition, database)
		}
		s.Write(&written, 1, false, url, now)
	}
	if got := types(written); got != "Ready Stalled DatabaseReady RouteReady" {
		t.Errorf("the order is %s", got)
	}
}

func TestATransitionGetsATimeAndAnythingElseKeepsIt(t *testing.T) {
	var written []metav1.Condition
	at := func(when time.Time, status bool, message string) metav1.Condition {
		s := conditions.New()
		if status {
			s.True(v1alpha1.DatabaseReadyCondition, "Ready", message)
		} else {
			s.False(v1alpha1.DatabaseReadyCondition, "Down", message)
		}
		s.Write(&written, 1, false, url, when)
		return *meta.FindStatusCondition(written, v1alpha1.DatabaseReadyCondition)
	}
	at(now, true, "one")
	if c := at(now.Add(time.Hour), true, "two"); !c.LastTransitionTime.Time.Equal(now) || c.Message != "two" {
		t.Errorf("another message moved the transition: %+v", c)
	}
	if c := at(now.Add(2*time.Hour), false, "three"); !c.LastTransitionTime.Time.Equal(now.Add(2 * time.Hour)) {
		t.Errorf("a transition kept the old time: %+v", c)
	}
}

func TestAConditionThatNoPhaseRecordedIsRemoved(t *testing.T) {
	written := []metav1.Condition{{Type: v1alpha1.CertificateReadyCondition, Status: metav1.ConditionTrue}}
	s := conditions.New()
	s.True(v1alpha1.DatabaseReadyCondition, "Ready", "")
	s.Write(&written, 1, false, url, now)
	if got := types(written); got != "Ready DatabaseReady" {
		t.Errorf("the conditions are %s", got)
	}
}

// An event's note holds 1024 characters at most, and is Ready's message.
func TestAMessageFitsAnEvent(t *testing.T) {
	s := conditions.New()
	s.False(v1alpha1.DatabaseReadyCondition, "Down", strings.Repeat("é", 2000))
	s.Note(errors.New(strings.Repeat("x", 5000)))
	var written []metav1.Condition
	s.Write(&written, 1, false, url, now)
	for _, c := range written {
		if len(c.Message) > 1024 || strings.ContainsRune(c.Message, '�') {
			t.Errorf("%s has %d characters, or half of one", c.Type, len(c.Message))
		}
	}
}

func summary(written []metav1.Condition) string {
	var parts []string
	for _, c := range written {
		switch c.Type {
		case v1alpha1.ReadyCondition:
			parts = append(parts, fmt.Sprintf("%s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message))
		case v1alpha1.ReconcilingCondition, v1alpha1.StalledCondition:
			parts = append(parts, fmt.Sprintf("%s=%s %s", c.Type, c.Status, c.Reason))
		}
	}
	return strings.Join(parts, "|")
}

func types(written []metav1.Condition) string {
	var all []string
	for _, c := range written {
		all = append(all, c.Type)
	}
	return strings.Join(all, " ")
}
