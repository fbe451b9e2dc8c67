// Command storage-provisioner gives the local cluster volumes that behave: a
// claim waits for its first pod, gets a directory on that pod's node as a
// "local" volume (which, unlike hostPath, honours fsGroup), and the directory is
// removed when the claim goes. It does not expand, snapshot or limit volumes.
//
// All nodes of the local cluster share the machine's disk, so one process serves
// them all: {node} in --root is replaced by the node's name.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "file that says where the API server is and who we are")
	name := flag.String("name", "", "provisioner that storage classes name")
	root := flag.String("root", "", "folder of the volumes; {node} stands for the node's name")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *kubeconfig, *name, *root); err != nil {
		fmt.Fprintln(os.Stderr, "storage-provisioner:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, kubeconfig, name, root string) error {
	if name == "" || !filepath.IsAbs(root) {
		return errors.New("--name and an absolute --root are needed")
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	controller.NewProvisionController(ctx, client, name, directories{root: root},
		controller.LeaderElection(false),
		// A claim that cannot be served yet is retried for as long as it exists.
		controller.FailedProvisionThreshold(0),
		controller.FailedDeleteThreshold(0),
	).Run(ctx)
	return nil
}

// directories provisions folders under root.
type directories struct{ root string }

// Provision makes the folder and describes it as a volume of the node that the
// scheduler chose.
func (d directories) Provision(_ context.Context, o controller.ProvisionOptions) (*corev1.PersistentVolume, controller.ProvisioningState, error) {
	if o.SelectedNodeName == "" {
		return nil, controller.ProvisioningFinished, errors.New("the storage class has to say volumeBindingMode: WaitForFirstConsumer")
	}
	if mode := o.PVC.Spec.VolumeMode; mode != nil && *mode == corev1.PersistentVolumeBlock {
		return nil, controller.ProvisioningFinished, errors.New("only volumeMode Filesystem can be had")
	}
	for _, mode := range o.PVC.Spec.AccessModes {
		if mode != corev1.ReadWriteOnce && mode != corev1.ReadWriteOncePod {
			return nil, controller.ProvisioningFinished, fmt.Errorf("accessMode %s cannot be had: ReadWriteOnce and ReadWriteOncePod can", mode)
		}
	}
	path, err := d.path(o.SelectedNodeName, o.PVName)
	if err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	// Like a fresh disk of the big clouds: a pod without fsGroup may write too.
	if err := os.Chmod(path, 0o777); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	return volume(o, path), controller.ProvisioningFinished, nil
}

// Delete removes the folder and what is in it.
func (d directories) Delete(_ context.Context, pv *corev1.PersistentVolume) error {
	if pv.Spec.Local == nil {
		return &controller.IgnoredError{Reason: "the volume is not a local one"}
	}
	node, err := nodeOf(pv)
	if err != nil {
		return err
	}
	path, err := d.path(node, pv.Name)
	if err != nil {
		return err
	}
	if pv.Spec.Local.Path != path { // never remove a folder somebody else named
		return &controller.IgnoredError{Reason: pv.Spec.Local.Path + " is not a folder of ours"}
	}
	return os.RemoveAll(path)
}

func (d directories) path(node, name string) (string, error) {
	for _, part := range []string{node, name} {
		if part == "" || strings.ContainsAny(part, "/\\") || strings.HasPrefix(part, ".") {
			return "", fmt.Errorf("%q is no name for a folder", part)
		}
	}
	return filepath.Join(strings.ReplaceAll(d.root, "{node}", node), name), nil
}

func volume(o controller.ProvisionOptions, path string) *corev1.PersistentVolume {
	mode := corev1.PersistentVolumeFilesystem
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: o.PVName},
		Spec: corev1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *o.StorageClass.ReclaimPolicy,
			AccessModes:                   o.PVC.Spec.AccessModes,
			VolumeMode:                    &mode,
			Capacity: corev1.ResourceList{
				corev1.ResourceStorage: o.PVC.Spec.Resources.Requests[corev1.ResourceStorage],
			},
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				Local: &corev1.LocalVolumeSource{Path: path},
			},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{
					MatchExpressions: []corev1.NodeSelectorRequirement{{
						Key:      corev1.LabelHostname,
						Operator: corev1.NodeSelectorOpIn,
						Values:   []string{o.SelectedNodeName},
					}},
				}},
			}},
		},
	}
}

func nodeOf(pv *corev1.PersistentVolume) (string, error) {
	if affinity := pv.Spec.NodeAffinity; affinity != nil && affinity.Required != nil {
		for _, term := range affinity.Required.NodeSelectorTerms {
			for _, e := range term.MatchExpressions {
				if e.Key == corev1.LabelHostname && len(e.Values) == 1 {
					return e.Values[0], nil
				}
			}
		}
	}
	return "", fmt.Errorf("volume %s names no node", pv.Name)
}
