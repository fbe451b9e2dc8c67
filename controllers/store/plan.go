package store

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitee.com/captainjez/gocart/controllers/internal/plan"
	"gitee.com/captainjez/gocart/controllers/internal/policies"
)

// plan decides which images run and builds the objects.
//
// An image that the spec does not name was chosen when the store was created
// and is kept: by status, else by what runs. So a new release of the operator
// with other defaults changes no store.
func (r *Reconciler) plan(ctx context.Context, run *run) error {
	s := run.store
	var err error
	if run.api, err = get(ctx, r.Client, s.Namespace, plan.Name(s.Name, plan.ComponentAPI), &appsv1.Deployment{}); err != nil {
		return err
	}
	postgres, err := get(ctx, r.Client, s.Namespace, plan.Name(s.Name, plan.ComponentPostgres), &appsv1.StatefulSet{})
	if err != nil {
		return err
	}
	redis, err := get(ctx, r.Client, s.Namespace, plan.Name(s.Name, plan.ComponentRedis), &appsv1.StatefulSet{})
	if err != nil {
		return err
	}
	found, err := policies.Of(ctx, r.Client, client.ObjectKeyFromObject(s))
	if err != nil {
		return err
	}
	edge, err := r.edges.Of(s, found)
	if err != nil {
		return err
	}
	run.input = plan.Input{
		Store:             s,
		Edge:              edge,
		DatabaseHash:      run.databaseHash,
		RedisHash:         run.redisHash,
		SecretsHash:       run.secretsHash(),
		ACME:              r.Options.ACME,
		OperatorNamespace: r.Options.Namespace,
	}
	images := &run.input.Images
	serving := ""
	if run.api != nil {
		serving = image(run.api.Spec.Template)
	}
	images.Runtime = r.runtimeImage(run, serving)
	if postgres != nil {
		images.Postgres = image(postgres.Spec.Template)
	}
	if m := s.Spec.Database.Managed; m != nil {
		images.Postgres = firstOf(m.Image, images.Postgres, r.Options.Defaults.Postgres)
	}
	if redis != nil {
		images.Redis = image(redis.Spec.Template)
	}
	if m := s.Spec.Redis.Managed; m != nil {
		images.Redis = firstOf(m.Image, images.Redis, r.Options.Defaults.Redis)
	}

	if run.migration, err = get(ctx, r.Client, s.Namespace, plan.MigrationName(run.input), &batchv1.Job{}); err != nil {
		return err
	}
	run.migrated = run.migration != nil && jobCondition(run.migration, batchv1.JobComplete) != nil
	images.Serving = images.Runtime
	if !run.migrated && serving != "" {
		images.Serving = serving
	}
	run.objects, err = plan.Build(run.input)
	return err
}

func (run *run) secretsHash() string {
	parts := []string{run.salt, run.databaseHash, run.redisHash}
	if run.mailHash != "" {
		parts = append(parts, run.mailHash)
	}
	if run.paymentsHash != "" {
		parts = append(parts, "payments", run.paymentsHash)
	}
	return plan.Hash(parts...)[:16]
}

func (r *Reconciler) runtimeImage(run *run, serving string) string {
	s := run.store
	if s.Spec.Image != nil {
		return plan.Reference(s.Spec.Image, r.Options.RuntimeRepository)
	}
	chosen := ""
	if s.Status.Image != nil {
		chosen = s.Status.Image.Current
	}
	return firstOf(chosen, serving, r.Options.Defaults.Runtime)
}

func image(t corev1.PodTemplateSpec) string {
	if len(t.Spec.Containers) == 0 {
		return ""
	}
	return t.Spec.Containers[0].Image
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

func (r *Reconciler) secure(ctx context.Context, run *run) error {
	_, err := r.apply(ctx, run, run.objects.Network)
	return err
}

func (r *Reconciler) configure(ctx context.Context, run *run) (err error) {
	run.configured, err = r.apply(ctx, run, run.objects.Config)
	return err
}
