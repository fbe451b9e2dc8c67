// Package v1alpha1 holds GoCart's kinds in the API group
// commerce.rcommerce.app: their types, their validation (CEL, so that an
// install needs no webhook), their condition types and reasons.
//
// +kubebuilder:object:generate=true
// +groupName=commerce.rcommerce.app
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of every kind in this package.
var GroupVersion = schema.GroupVersion{Group: "commerce.rcommerce.app", Version: "v1alpha1"}

// AddToScheme adds this package's kinds to a scheme.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &Store{}, &StoreList{}, &RateLimitPolicy{}, &RateLimitPolicyList{}, &JobSchedule{}, &JobScheduleList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
