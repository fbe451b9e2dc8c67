// Package plan turns a Store, and what was resolved for it, into the objects
// that should exist. It is pure: no client, no clock, no randomness; the same
// input gives the same bytes. A builder returns nil for what is not wanted.
// Nothing in a pod template speaks of the operator's own version, so that an
// upgrade of the operator rolls no pod.
package plan

import (
	"reflect"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
)

// Input is everything that a plan depends on.
type Input struct {
	Store *v1alpha1.Store
	// Images are full references.
	Images Images
	// SecretsHash changes when a credential that pods hold changes, so that
	// they are rolled; the certificate, reloaded in place, is not part of it.
	SecretsHash string
	// DatabaseHash changes when the database's credentials change, so that a
	// migration is tried again.
	DatabaseHash string
	// RedisHash changes when Redis' credentials change, so that a managed one
	// is started anew with them.
	RedisHash string
	// Edge is what the pods read again in place.
	Edge EdgeFile
	// ACME tells where Let's Encrypt is.
	ACME ACME
	// OperatorNamespace is where the operator runs: its pods may read the
	// internal port.
	OperatorNamespace string
}

// Images are full references to what a store runs.
type Images struct {
	// Runtime is what the spec asks for; its migration runs first.
	Runtime string
	// Serving is what api and worker pods run until that migration succeeded;
	// equal to Runtime afterwards.
	Serving  string
	Postgres string
	Redis    string
}

// ACME tells where Let's Encrypt is.
type ACME struct {
	ProductionURL, StagingURL string
	// CABundle holds PEM certificates to trust when talking to it; nil for the system's.
	CABundle []byte
}

// LetsEncrypt is where Let's Encrypt publishes its directories
// (https://letsencrypt.org/docs/acme-protocol-updates and /staging-environment).
func LetsEncrypt() ACME {
	return ACME{
		ProductionURL: "https://acme-v02.api.letsencrypt.org/directory",
		StagingURL:    "https://acme-staging-v02.api.letsencrypt.org/directory",
	}
}

// Objects are what should exist, grouped by the phase that applies them.
type Objects struct {
	Config      []client.Object
	Database    []client.Object
	Redis       []client.Object
	Certificate []client.Object
	Migration   *batchv1.Job
	Workloads   []client.Object
	Scaling     []client.Object
	Exposure    []client.Object
	Network     []client.Object
	Monitoring  []client.Object
}

// Build returns the objects of a store.
func Build(in Input) (Objects, error) {
	config, hash, err := configMap(in)
	if err != nil {
		return Objects{}, err
	}
	return Objects{
		Config:      list(config),
		Database:    list(postgresService(in), postgresStatefulSet(in)),
		Redis:       list(redisService(in), redisStatefulSet(in)),
		Certificate: list(issuer(in), certificate(in)),
		Migration:   migrationJob(in),
		Workloads: list(
			apiDeployment(in, hash), apiAutoscaler(in), apiDisruptionBudget(in),
			workerDeployment(in, hash), workerDisruptionBudget(in),
		),
		Scaling:  list(triggerAuthentication(in), scaledObject(in)),
		Exposure: list(apiService(in), ingress(in), httpRoute(in)),
		Network: list(
			apiNetworkPolicy(in), workerNetworkPolicy(in), jobNetworkPolicy(in), postgresNetworkPolicy(in), redisNetworkPolicy(in),
		),
		Monitoring: list(internalService(in), serviceMonitor(in)),
	}, nil
}

// All returns every object, in the order of the phases.
func (o Objects) All() []client.Object {
	var all []client.Object
	for _, group := range [][]client.Object{o.Config, o.Database, o.Redis, o.Certificate, list(o.Migration), o.Workloads, o.Scaling, o.Exposure, o.Network, o.Monitoring} {
		all = append(all, group...)
	}
	return all
}

// list drops what is not wanted.
func list(objects ...client.Object) []client.Object {
	var wanted []client.Object
	for _, o := range objects {
		if o != nil && !reflect.ValueOf(o).IsNil() {
			wanted = append(wanted, o)
		}
	}
	return wanted
}

func secretVolume(name, secret string, items ...corev1.KeyToPath) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
		SecretName: secret, Items: items, DefaultMode: ptr(int32(0o440)),
	}}}
}

func emptyDir(name string, medium corev1.StorageMedium, size string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{
		Medium: medium, SizeLimit: ptr(quantity(size)),
	}}}
}

func ptr[T any](v T) *T { return &v }

func orDefault[T any](p *T, def T) T {
	if p == nil {
		return def
	}
	return *p
}
