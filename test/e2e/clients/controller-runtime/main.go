// A program of controller-runtime against the API at os.Args[1]: a manager that leads by a Lease, and a reconciler of a custom
// kind that owns a Deployment, which it applies; with a finalizer, events, a status and an index. It prints one line for each
// thing that works. To build it outside of the repository:
//
//	go mod init manager && go get sigs.k8s.io/controller-runtime@v0.25.2 && go mod tidy && go build -o manager .
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	apps "k8s.io/api/apps/v1"
	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	applyapps "k8s.io/client-go/applyconfigurations/apps/v1"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	applymeta "k8s.io/client-go/applyconfigurations/meta/v1"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
)

const manager = "site-operator"
const finalizer = "sites.example.com/cleanup"

type SiteSpec struct {
	Team     string `json:"team"`
	Replicas int32  `json:"replicas"`
}

type SiteStatus struct {
	Replicas   int32              `json:"replicas,omitempty"`
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

type Site struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              SiteSpec   `json:"spec,omitempty"`
	Status            SiteStatus `json:"status,omitempty"`
}

func (s *Site) DeepCopyObject() runtime.Object {
	copied := *s
	copied.ObjectMeta = *s.ObjectMeta.DeepCopy()
	copied.Status.Conditions = append([]metav1.Condition(nil), s.Status.Conditions...)
	return &copied
}

type SiteList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Site `json:"items"`
}

func (l *SiteList) DeepCopyObject() runtime.Object {
	copied := SiteList{TypeMeta: l.TypeMeta, ListMeta: l.ListMeta}
	for i := range l.Items {
		copied.Items = append(copied.Items, *l.Items[i].DeepCopyObject().(*Site))
	}
	return &copied
}

const definition = `{
	"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "sites.example.com"},
	"spec": {
		"group": "example.com", "scope": "Namespaced",
		"names": {"kind": "Site", "listKind": "SiteList", "plural": "sites", "singular": "site"},
		"versions": [{
			"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
			"schema": {"openAPIV3Schema": {"type": "object", "properties": {
				"spec": {"type": "object", "properties": {"team": {"type": "string"}, "replicas": {"type": "integer", "format": "int32"}}},
				"status": {"type": "object", "properties": {
					"replicas": {"type": "integer", "format": "int32"},
					"conditions": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"], "items": {
						"type": "object", "required": ["type"], "properties": {
							"type": {"type": "string"}, "status": {"type": "string"}, "reason": {"type": "string"},
							"message": {"type": "string"}, "observedGeneration": {"type": "integer", "format": "int64"},
							"lastTransitionTime": {"type": "string", "format": "date-time"}}}}}}}}}}]}}`

type reconciler struct {
	client.Client
	recorder events.EventRecorder
	turns    atomic.Int32
	cleaned  atomic.Int32
}

func (r *reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	r.turns.Add(1)
	site := &Site{}
	if err := r.Get(ctx, request.NamespacedName, site); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !site.DeletionTimestamp.IsZero() {
		if controllerutil.RemoveFinalizer(site, finalizer) {
			r.cleaned.Add(1)
			return ctrl.Result{}, r.Update(ctx, site)
		}
		return ctrl.Result{}, nil
	}
	if controllerutil.AddFinalizer(site, finalizer) {
		if err := r.Update(ctx, site); err != nil {
			return ctrl.Result{}, err
		}
		r.recorder.Eventf(site, nil, core.EventTypeNormal, "Adopted", "Adopt", "site of team %s", site.Spec.Team)
	}
	if err := r.Apply(ctx, deploymentOf(site), client.FieldOwner(manager), client.ForceOwnership); err != nil {
		return ctrl.Result{}, err
	}
	deployment := &apps.Deployment{}
	if err := r.Get(ctx, request.NamespacedName, deployment); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	before := site.DeepCopyObject().(*Site)
	site.Status.Replicas = *deployment.Spec.Replicas
	meta.SetStatusCondition(&site.Status.Conditions, metav1.Condition{
		Type: "Applied", Status: metav1.ConditionTrue, Reason: "Deployed", ObservedGeneration: site.Generation,
	})
	return ctrl.Result{}, r.Status().Patch(ctx, site, client.MergeFrom(before))
}

func deploymentOf(site *Site) *applyapps.DeploymentApplyConfiguration {
	labels := map[string]string{"site": site.Name}
	owner := applymeta.OwnerReference().WithAPIVersion("example.com/v1").WithKind("Site").WithName(site.Name).
		WithUID(site.UID).WithController(true).WithBlockOwnerDeletion(true)
	container := applycore.Container().WithName("web").WithImage("nginx").
		WithPorts(applycore.ContainerPort().WithContainerPort(80).WithName("http"))
	template := applycore.PodTemplateSpec().WithLabels(labels).WithSpec(applycore.PodSpec().WithContainers(container))
	return applyapps.Deployment(site.Name, site.Namespace).WithOwnerReferences(owner).WithSpec(applyapps.DeploymentSpec().
		WithReplicas(site.Spec.Replicas).WithSelector(applymeta.LabelSelector().WithMatchLabels(labels)).WithTemplate(template))
}

func check(err error) {
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

// eventually waits until the condition holds, for at most ten seconds.
func eventually(what string, condition func() bool) {
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			check(fmt.Errorf("not within ten seconds: %s", what))
		}
	}
}

func managers(object client.Object) string {
	names := []string{}
	for _, entry := range object.GetManagedFields() {
		names = append(names, strings.TrimSuffix(fmt.Sprintf("%s %s/%s", entry.Manager, entry.Operation, entry.Subresource), "/"))
	}
	return strings.Join(names, ", ")
}

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	ctrl.SetLogger(logr.Discard())
	scheme := runtime.NewScheme()
	check(clientscheme.AddToScheme(scheme))
	version := schema.GroupVersion{Group: "example.com", Version: "v1"}
	scheme.AddKnownTypes(version, &Site{}, &SiteList{})
	metav1.AddToGroupVersion(scheme, version)
	config := &rest.Config{Host: os.Args[1]}

	direct, err := client.New(config, client.Options{Scheme: scheme})
	check(err)
	crd := &unstructured.Unstructured{}
	check(json.Unmarshal([]byte(definition), &crd.Object))
	check(direct.Apply(ctx, client.ApplyConfigurationFromUnstructured(crd), client.FieldOwner(manager)))
	eventually("the kind is served", func() bool { return direct.List(ctx, &SiteList{}) == nil })
	fmt.Println("definition applied")

	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme, Metrics: server.Options{BindAddress: "0"}, LeaderElection: true, LeaderElectionID: "sites",
		LeaderElectionNamespace: "default", LeaderElectionReleaseOnCancel: true,
	})
	check(err)
	r := &reconciler{Client: mgr.GetClient(), recorder: mgr.GetEventRecorder(manager)}
	check(mgr.GetFieldIndexer().IndexField(ctx, &Site{}, "spec.team", func(o client.Object) []string {
		return []string{o.(*Site).Spec.Team}
	}))
	check(ctrl.NewControllerManagedBy(mgr).For(&Site{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Owns(&apps.Deployment{}).Complete(r))
	ended := make(chan error)
	go func() { ended <- mgr.Start(ctx) }()
	<-mgr.Elected()
	lease := &coordination.Lease{}
	leaseName := client.ObjectKey{Namespace: "default", Name: "sites"}
	check(direct.Get(ctx, leaseName, lease))
	fmt.Println("leading:", *lease.Spec.HolderIdentity != "")

	name := client.ObjectKey{Namespace: "default", Name: "blog"}
	for _, each := range []string{"blog", "shop"} {
		check(direct.Create(ctx, &Site{
			ObjectMeta: metav1.ObjectMeta{Name: each, Namespace: "default"}, Spec: SiteSpec{Team: "team-of-" + each, Replicas: 2},
		}))
	}
	site := &Site{}
	eventually("the status is written", func() bool {
		check(direct.Get(ctx, name, site))
		return site.Status.Replicas == 2 && meta.IsStatusConditionTrue(site.Status.Conditions, "Applied")
	})
	fmt.Println("site:", managers(site), "finalizers:", site.Finalizers)
	deployment := &apps.Deployment{}
	eventually("the Deployment has a status", func() bool {
		check(direct.Get(ctx, name, deployment))
		return deployment.Status.ObservedGeneration > 0
	})
	fmt.Println("deployment:", managers(deployment))

	found := &SiteList{}
	check(mgr.GetClient().List(ctx, found, client.MatchingFields{"spec.team": "team-of-shop"}))
	fmt.Println("by index:", len(found.Items), found.Items[0].Name)
	list := &eventsv1.EventList{}
	eventually("both events are written", func() bool {
		check(direct.List(ctx, list, client.InNamespace("default")))
		seen := 0
		for _, event := range list.Items {
			if event.ReportingController == manager && event.Reason == "Adopted" {
				seen++
			}
		}
		return seen == 2
	})
	fmt.Println("events: 2")

	other := applyapps.Deployment("blog", "default").WithSpec(applyapps.DeploymentSpec().WithReplicas(7))
	err = direct.Apply(ctx, other, client.FieldOwner("somebody"))
	fmt.Println("conflict:", errors.IsConflict(err))
	check(direct.Apply(ctx, other, client.FieldOwner("somebody"), client.ForceOwnership))
	eventually("the operator takes its field back", func() bool {
		check(direct.Get(ctx, name, deployment))
		return *deployment.Spec.Replicas == 2
	})
	fmt.Println("taken back:", managers(deployment))

	time.Sleep(300 * time.Millisecond) // Until the reconciler has nothing left to do.
	turns := r.turns.Load()
	check(direct.Get(ctx, name, site))
	before := site.DeepCopyObject().(*Site)
	site.Labels = map[string]string{"changed": "yes"}
	check(direct.Patch(ctx, site, client.MergeFrom(before)))
	time.Sleep(300 * time.Millisecond)
	fmt.Println("a label is no change of generation:", r.turns.Load() == turns)
	check(direct.Get(ctx, name, site))
	site.Spec.Replicas = 3
	check(direct.Update(ctx, site))
	eventually("the change is applied", func() bool {
		check(direct.Get(ctx, name, deployment))
		return *deployment.Spec.Replicas == 3
	})
	stale := site.DeepCopyObject().(*Site)
	stale.ResourceVersion = "1"
	fmt.Println("stale update refused:", errors.IsConflict(direct.Update(ctx, stale)))

	check(direct.Delete(ctx, site))
	eventually("the site and its Deployment are gone", func() bool {
		return errors.IsNotFound(direct.Get(ctx, name, site)) && errors.IsNotFound(direct.Get(ctx, name, deployment))
	})
	fmt.Println("finalized:", r.cleaned.Load() > 0)
	cancel()
	check(<-ended)
	check(direct.Get(context.Background(), leaseName, lease))
	fmt.Println("released:", *lease.Spec.HolderIdentity == "")
}
