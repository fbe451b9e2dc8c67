package store

import (
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/diagnosis"
	"gitee.com/captainjez/gocart/controllers/internal/outcome"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
	"gitee.com/captainjez/gocart/runtime/status"
)

// migrate has the wanted image bring the schema up before any pod runs it.
func (r *Reconciler) migrate(ctx context.Context, run *run) error {
	switch {
	case run.databaseHash == "":
		return outcome.Waiting(v1alpha1.ReasonWaiting, 0, "waits for the database's Secret")
	case run.migration == nil && !run.databaseUp:
		return outcome.Waiting(v1alpha1.ReasonWaiting, 0, "waits for the database")
	}
	if _, err := r.apply(ctx, run, []client.Object{run.objects.Migration}); err != nil {
		return err
	}
	if run.migration == nil {
		return outcome.Waiting(v1alpha1.ReasonMigrationRunning, 0, "Job %s was just made", run.objects.Migration.Name)
	}
	last, err := r.lastMigration(ctx, run.migration)
	if err != nil {
		return err
	}
	if last.DatabaseVersion != "" {
		run.store.Status.Database = &v1alpha1.ServerStatus{Version: last.DatabaseVersion}
	}
	if run.migrated {
		run.conditions.True(v1alpha1.MigrationSucceededCondition, v1alpha1.ReasonMigrationSucceeded, "the schema is the one of image "+run.input.Images.Runtime)
		if run.store.Spec.Database.Managed == nil {
			run.conditions.True(v1alpha1.DatabaseReadyCondition, v1alpha1.ReasonReady, "the migration reached the database")
		}
		run.store.Status.Image = &v1alpha1.ImageStatus{Migrated: run.input.Images.Runtime}
		return nil
	}
	if jobCondition(run.migration, batchv1.JobFailed) != nil {
		return r.migrationFailed(ctx, run, last)
	}
	if last.Message != "" {
		return outcome.Waiting(v1alpha1.ReasonMigrationRunning, 0, "an attempt failed and is repeated: %s", last.Message)
	}
	return r.diagnose(ctx, run.store, plan.ComponentMigrate, v1alpha1.ReasonMigrationRunning, "Job "+run.migration.Name+" is running")
}

// migrationFailed says why, and what goes on meanwhile. An unreachable
// database is tried again; anything else needs somebody to change something.
func (r *Reconciler) migrationFailed(ctx context.Context, run *run, last status.Migration) error {
	meanwhile := "no pod was started"
	if run.api != nil {
		meanwhile = "the store goes on with image " + run.input.Images.Serving
	}
	message := firstOf(last.Message, "see kubectl logs job/"+run.migration.Name)
	switch last.Reason {
	case "DatabaseUnreachable":
		if !run.store.Spec.Paused {
			if err := r.Applier.Delete(ctx, run.migration); err != nil {
				return err
			}
		}
		run.conditions.False(v1alpha1.DatabaseReadyCondition, v1alpha1.ReasonUnreachable, message)
		return outcome.Waiting(v1alpha1.ReasonUnreachable, 5*time.Second, "%s; it is tried again, and %s", message, meanwhile)
	case "AuthenticationFailed", "DatabaseMissing", "PermissionDenied":
		err := outcome.Terminal(last.Reason, "%s (Secret %s/%s); %s. Change the Secret, or mend it in the database and %s",
			message, run.store.Namespace, run.refs.Database[0].Name, meanwhile, tryAgain(run.store))
		run.conditions.Fail(v1alpha1.DatabaseReadyCondition, err)
		return err
	}
	return outcome.Terminal(v1alpha1.ReasonMigrationFailed,
		"the migration of image %s failed: %s; %s. Change spec.image, or mend the cause and %s",
		run.input.Images.Runtime, message, meanwhile, tryAgain(run.store))
}

func tryAgain(s *v1alpha1.Store) string {
	return fmt.Sprintf("try again with kubectl annotate store %s %s=$(date +%%s) --overwrite", s.Name, plan.AnnotationReconcile)
}

// lastMigration is what the newest pod of the Job that ended said.
func (r *Reconciler) lastMigration(ctx context.Context, job *batchv1.Job) (status.Migration, error) {
	var pods corev1.PodList
	err := r.Client.List(ctx, &pods, client.InNamespace(job.Namespace), client.MatchingLabels{batchv1.JobNameLabel: job.Name})
	if err != nil {
		return status.Migration{}, fmt.Errorf("listing the pods of Job %s: %w", job.Name, err)
	}
	sort.Slice(pods.Items, func(i, j int) bool {
		return pods.Items[j].CreationTimestamp.Before(&pods.Items[i].CreationTimestamp)
	})
	for i := range pods.Items {
		for _, c := range pods.Items[i].Status.ContainerStatuses {
			if t := c.State.Terminated; t != nil && t.Message != "" {
				return parseMigration(t.Message), nil
			}
		}
	}
	return status.Migration{}, nil
}

// parseMigration reads the report; an image that writes none has its last
// words taken for the message.
func parseMigration(message string) status.Migration {
	var m status.Migration
	if err := json.Unmarshal([]byte(strings.TrimSpace(message)), &m); err != nil || m.Reason == "" {
		return status.Migration{Message: diagnosis.Clip(message)}
	}
	if m.Succeeded {
		m.Message = ""
	}
	m.Message = diagnosis.Clip(m.Message)
	return m
}

func jobCondition(j *batchv1.Job, t batchv1.JobConditionType) *batchv1.JobCondition {
	for i := range j.Status.Conditions {
		if c := &j.Status.Conditions[i]; c.Type == t && c.Status == corev1.ConditionTrue {
			return c
		}
	}
	return nil
}
