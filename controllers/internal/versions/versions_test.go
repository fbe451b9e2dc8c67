package versions_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitee.com/captainjez/gocart/controllers/internal/versions"
)

func TestTheCacheIsBehindUntilItTellsOfTheWrite(t *testing.T) {
	at := func(version string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "a", ResourceVersion: version}}
	}
	var w versions.Written
	if w.Behind(at("1")) {
		t.Error("nothing was written yet")
	}
	w.Wrote(at("9"))
	// As numbers, and not as words.
	if !w.Behind(at("8")) || w.Behind(at("10")) {
		t.Error("8 is before 9, and 10 is not")
	}
	if w.Behind(at("8")) {
		t.Error("what the cache has caught up with is remembered for ever")
	}
}
