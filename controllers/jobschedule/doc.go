// Package jobschedule makes JobSchedules true: a CronJob each, which starts a pod
// that enqueues the job or works it.
//
// A reconcile is a list of phases: judge (can the spec be carried out), apply
// (the CronJob), ask (what became of the jobs). Only report.go writes status,
// once, at the end. When the CronJob fires is Kubernetes' to decide; the package
// reads schedules by the same library (github.com/robfig/cron/v3), to tell when
// it will.
package jobschedule
