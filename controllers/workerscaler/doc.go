// Package workerscaler has the jobs that wait decide how many worker pods a
// Store has: it asks one of the Store's pods for its queues every few seconds and
// sets spec.replicas of the workers' Deployment through its scale subresource,
// with a field manager of its own, as a HorizontalPodAutoscaler does.
//
// How many there should be is a pure function (decide.go). The package writes
// nothing else; the Store's status is the Store controller's.
package workerscaler
