package overload

import (
	"fmt"
	"slices"
	"testing"
)

func TestLevelsGoUpAndComeBackStepByStep(t *testing.T) {
	t.Parallel()
	var quiet, shedding, refusing = counts{requests: 100}, counts{requests: 100, shed: 50}, counts{requests: 100, refused: 50}
	tests := []struct {
		name     string
		least    int
		sequence []counts
		each     int // seconds of each
		want     []int
	}{
		{"up while requests are shed, down when that ends", 0, []counts{quiet, shedding, quiet}, 40, []int{0, 1, 2, 3, 2, 1, 0}},
		{"refusals alone lead to the first level", 0, []counts{refusing, quiet}, 40, []int{0, 1, 0}},
		{"refusals do not keep a higher one", 0, []counts{shedding, refusing}, 30, []int{0, 1, 2, 3, 2, 1}},
		{"a few of many are no attack", 0, []counts{{requests: 1000, shed: 100}}, 30, []int{0}},
		{"most of a few are none either", 0, []counts{{requests: 10, shed: 9}}, 30, []int{0}},
		{"silence is calm", 0, []counts{shedding, {}}, 40, []int{0, 1, 2, 3, 2, 1, 0}},
		{"it stays between two thresholds", 0, []counts{shedding, {requests: 100, shed: 10}}, 60, []int{0, 1, 2, 3}},
		{"on is never below one", 1, []counts{quiet, shedding, quiet}, 60, []int{1, 2, 3, 2, 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var l levels
			l.bound(tt.least, highest)
			got := []int{l.n}
			for _, s := range tt.sequence {
				for range tt.each {
					before := l.n
					why := l.add(s)
					if (why != "") != (l.n != before) {
						t.Fatalf("from %d to %d because %q", before, l.n, why)
					}
					if l.n != before {
						got = append(got, l.n)
					}
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("levels %v, want %v", got, tt.want)
			}
		})
	}
}

func TestAStepUpTakesSecondsAndAStepDownLonger(t *testing.T) {
	t.Parallel()
	var l levels
	l.bound(0, highest)
	var changes []string
	for second := range 60 {
		s := counts{requests: 100}
		if second < 20 {
			s.shed = 90
		}
		if l.add(s) != "" {
			changes = append(changes, fmt.Sprintf("%d at %d", l.n, second))
		}
	}
	if want := []string{"1 at 2", "2 at 5", "3 at 8", "2 at 33", "1 at 43", "0 at 53"}; !slices.Equal(changes, want) {
		t.Errorf("%q, want %q", changes, want)
	}
}
