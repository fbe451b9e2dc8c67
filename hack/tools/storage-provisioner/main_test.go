package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

func options() controller.ProvisionOptions {
	reclaim := corev1.PersistentVolumeReclaimDelete
	return controller.ProvisionOptions{
		StorageClass:     &storagev1.StorageClass{ReclaimPolicy: &reclaim},
		PVName:           "pvc-1",
		SelectedNodeName: "node1",
		PVC: &corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{
				corev1.ResourceStorage: resource.MustParse("1Gi"),
			}},
		}},
	}
}

func TestAVolumeLivesOnTheChosenNodeAndGoesWithItsClaim(t *testing.T) {
	root := t.TempDir()
	d := directories{root: filepath.Join(root, "{node}", "volumes")}
	pv, _, err := d.Provision(context.Background(), options())
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(root, "node1", "volumes", "pvc-1"); pv.Spec.Local.Path != want {
		t.Errorf("path is %s, want %s", pv.Spec.Local.Path, want)
	}
	info, err := os.Stat(pv.Spec.Local.Path)
	if err != nil || info.Mode().Perm() != 0o777 {
		t.Errorf("the folder is not open to every pod: %v %v", info, err)
	}
	if err := d.Delete(context.Background(), pv); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(pv.Spec.Local.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func TestWhatCannotBeHadIsRefused(t *testing.T) {
	d := directories{root: t.TempDir()}
	for name, change := range map[string]func(*controller.ProvisionOptions){
		"no node chosen": func(o *controller.ProvisionOptions) { o.SelectedNodeName = "" },
		"many writers": func(o *controller.ProvisionOptions) {
			o.PVC.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}
		},
		"a name that climbs": func(o *controller.ProvisionOptions) { o.PVName = "../x" },
	} {
		o := options()
		change(&o)
		if _, _, err := d.Provision(context.Background(), o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestDeleteLeavesFoldersItDidNotMake(t *testing.T) {
	d := directories{root: filepath.Join(t.TempDir(), "{node}")}
	pv, _, err := d.Provision(context.Background(), options())
	if err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	pv.Spec.Local.Path = other
	var ignored *controller.IgnoredError
	if err := d.Delete(context.Background(), pv); !errors.As(err, &ignored) {
		t.Errorf("got %v, want it ignored", err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
}
