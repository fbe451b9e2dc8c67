// Package keda is the part of KEDA's API (https://keda.sh/docs, keda.sh/v1alpha1)
// that GoCart writes and reads. KEDA's own module would bring all of its
// controller's requirements.
//
// +kubebuilder:object:generate=true
package keda

import (
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion of KEDA's kinds.
var GroupVersion = schema.GroupVersion{Group: "keda.sh", Version: "v1alpha1"}

// AddToScheme adds KEDA's kinds to a scheme.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &ScaledObject{}, &ScaledObjectList{}, &TriggerAuthentication{}, &TriggerAuthenticationList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}

// ScaledObject has KEDA scale a workload.
//
// +kubebuilder:object:root=true
type ScaledObject struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              ScaledObjectSpec   `json:"spec"`
	Status            ScaledObjectStatus `json:"status,omitzero"`
}

// ScaledObjectList is a list of ScaledObjects.
//
// +kubebuilder:object:root=true
type ScaledObjectList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ScaledObject `json:"items"`
}

// ScaledObjectSpec says what is scaled by what.
type ScaledObjectSpec struct {
	ScaleTargetRef ScaleTarget `json:"scaleTargetRef"`
	// PollingInterval and CooldownPeriod are seconds; the latter is for the way to zero.
	PollingInterval *int32          `json:"pollingInterval,omitempty"`
	CooldownPeriod  *int32          `json:"cooldownPeriod,omitempty"`
	MinReplicaCount *int32          `json:"minReplicaCount,omitempty"`
	MaxReplicaCount *int32          `json:"maxReplicaCount,omitempty"`
	Advanced        *AdvancedConfig `json:"advanced,omitempty"`
	Triggers        []Trigger       `json:"triggers"`
}

// ScaleTarget is a Deployment, by name.
type ScaleTarget struct {
	Name string `json:"name"`
}

// AdvancedConfig holds what becomes of the HorizontalPodAutoscaler that KEDA makes.
type AdvancedConfig struct {
	HorizontalPodAutoscalerConfig *AutoscalerConfig `json:"horizontalPodAutoscalerConfig,omitempty"`
}

// AutoscalerConfig is how it goes up and down.
type AutoscalerConfig struct {
	Behavior *autoscalingv2.HorizontalPodAutoscalerBehavior `json:"behavior,omitempty"`
}

// Trigger is one thing that a workload is scaled by; the most that any asks for holds.
type Trigger struct {
	Type              string            `json:"type"`
	Name              string            `json:"name,omitempty"`
	Metadata          map[string]string `json:"metadata"`
	AuthenticationRef *Authentication   `json:"authenticationRef,omitempty"`
}

// Authentication names a TriggerAuthentication.
type Authentication struct {
	Name string `json:"name"`
}

// ScaledObjectStatus is what KEDA says of it.
type ScaledObjectStatus struct {
	Conditions []Condition `json:"conditions,omitempty"`
}

// Condition is KEDA's, which has no transition time.
type Condition struct {
	Type    string                 `json:"type"`
	Status  metav1.ConditionStatus `json:"status"`
	Reason  string                 `json:"reason,omitempty"`
	Message string                 `json:"message,omitempty"`
}

// TriggerAuthentication says what a trigger authenticates with.
//
// +kubebuilder:object:root=true
type TriggerAuthentication struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              TriggerAuthenticationSpec `json:"spec"`
}

// TriggerAuthenticationList is a list of TriggerAuthentications.
//
// +kubebuilder:object:root=true
type TriggerAuthenticationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []TriggerAuthentication `json:"items"`
}

// TriggerAuthenticationSpec takes parameters from Secrets.
type TriggerAuthenticationSpec struct {
	SecretTargetRef []SecretTarget `json:"secretTargetRef,omitempty"`
}

// SecretTarget is a parameter that a Secret's key holds.
type SecretTarget struct {
	Parameter string `json:"parameter"`
	Name      string `json:"name"`
	Key       string `json:"key"`
}
