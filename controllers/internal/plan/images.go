package plan

import (
	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
)

// Reference is the full reference of spec.image, over the repository that is
// used where it names none.
func Reference(i *v1alpha1.ImageSpec, repository string) string {
	if i.Repository != "" {
		repository = i.Repository
	}
	if i.Digest != "" {
		return repository + "@" + i.Digest
	}
	return repository + ":" + i.Tag
}

// MigrationName is the name of the Job that migrates for this input.
func MigrationName(in Input) string { return migrationJob(in).Name }
