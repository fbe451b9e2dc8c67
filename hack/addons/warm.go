package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

// fingerprint covers what up applies, but for what it finds in the cluster.
func fingerprint(v values, crds []string) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%q\n", v.Directory, crds)
	for _, name := range imageNames {
		fmt.Fprintln(h, v.Images[name])
	}
	files, err := fs.Glob(manifests, "manifests/*.yaml")
	if err != nil {
		return "", err
	}
	for _, file := range files {
		data, err := manifests.ReadFile(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n", file, len(data))
		h.Write(data)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// isUp says whether the last run applied just this and everything is still
// there and ready. It only looks, but for what a restart of Pebble needs.
func isUp(ctx context.Context, c cluster, applied string) (bool, error) {
	last, err := c.data(ctx, "configmap", "acme", "gocart-addons", "applied")
	if err != nil || last != applied {
		return false, err
	}
	out, err := c.run(ctx, "", "get", "deployments,clusterissuers", "--all-namespaces", "--output=json")
	if err != nil {
		return false, err
	}
	ready, err := readyObjects([]byte(out))
	if err != nil {
		return false, err
	}
	wanted := []string{"/pebble-dns01", "/pebble-http01"}
	for _, d := range deployments {
		wanted = append(wanted, d[0]+"/"+d[1])
	}
	if slices.ContainsFunc(wanted, func(name string) bool { return !ready[name] }) {
		return false, nil
	}
	if _, err := rememberRoots(ctx, c); err != nil {
		return false, err
	}
	return true, waitIssuers(ctx, c)
}

func remember(ctx context.Context, c cluster, applied string) error {
	object, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]string{"name": "gocart-addons", "namespace": "acme"},
		"data":     map[string]string{"applied": applied},
	})
	if err != nil {
		return err
	}
	return c.apply(ctx, string(object))
}

func waitIssuers(ctx context.Context, c cluster) error {
	_, err := c.run(ctx, "", "wait", "--for=condition=Ready", "--timeout=60s", "clusterissuer/pebble-dns01", "clusterissuer/pebble-http01")
	return err
}

// readyObjects reads a list of Deployments and ClusterIssuers and returns the
// NAMESPACE/NAME of those that are rolled out, or Ready.
func readyObjects(data []byte) (map[string]bool, error) {
	var list struct {
		Items []struct {
			Metadata struct {
				Namespace, Name   string
				Generation        int64
				DeletionTimestamp *time.Time
			}
			Status struct {
				ObservedGeneration, Replicas, UpdatedReplicas, AvailableReplicas int64
				Conditions                                                       []struct{ Type, Status string }
			}
		}
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, err
	}
	ready := map[string]bool{}
	for _, item := range list.Items {
		available := item.Status.ObservedGeneration == item.Metadata.Generation && item.Status.Replicas == 1 &&
			item.Status.UpdatedReplicas == 1 && item.Status.AvailableReplicas == 1
		for _, condition := range item.Status.Conditions {
			available = available || condition.Type == "Ready" && condition.Status == "True"
		}
		ready[item.Metadata.Namespace+"/"+item.Metadata.Name] = available && item.Metadata.DeletionTimestamp == nil
	}
	return ready, nil
}
