// A program of client-go against the API at os.Args[1], with os.Args[2] as its only media type if given: typed writes (protobuf), an informer, scale, apply, events of both
// groups, leader election, deletions. It prints one line per thing that works. To build it outside of the repository:
//
//	go mod init client && go get k8s.io/client-go@v0.37.2 && go mod tidy && go build -o client .
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	apps "k8s.io/api/apps/v1"
	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	events "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	clientcore "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/record"
)

func must[T any](v T, err error) T {
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	return v
}

func main() {
	ctx := context.Background()
	config := &rest.Config{Host: os.Args[1]}
	if len(os.Args) > 2 {
		// The only type it sends and accepts: application/vnd.kubernetes.protobuf.
		config.ContentType, config.AcceptContentTypes = os.Args[2], os.Args[2]
	}
	c := must(kubernetes.NewForConfig(config))
	maps := c.CoreV1().ConfigMaps("default")
	m := must(maps.Create(ctx, &core.ConfigMap{ObjectMeta: meta.ObjectMeta{Name: "go"}, Data: map[string]string{"a": "1"}}, meta.CreateOptions{}))
	m.Data["a"] = "2"
	m = must(maps.Update(ctx, m, meta.UpdateOptions{}))
	_, err := maps.Create(ctx, &core.ConfigMap{ObjectMeta: meta.ObjectMeta{Name: "go"}}, meta.CreateOptions{})
	fmt.Println("already exists:", errors.IsAlreadyExists(err))
	factory := informers.NewSharedInformerFactory(c, 0)
	seen := make(chan string, 100)
	factory.Core().V1().ConfigMaps().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { seen <- "add " + o.(*core.ConfigMap).Name },
		DeleteFunc: func(o any) { seen <- "delete " + o.(*core.ConfigMap).Name },
	})
	factory.Start(ctx.Done())
	synced := factory.WaitForCacheSync(ctx.Done())
	fmt.Println("informer synced:", len(synced))
	must(c.AppsV1().Deployments("default").Create(ctx, &apps.Deployment{ObjectMeta: meta.ObjectMeta{Name: "go"}, Spec: apps.DeploymentSpec{
		Selector: &meta.LabelSelector{MatchLabels: map[string]string{"a": "b"}},
		Template: core.PodTemplateSpec{ObjectMeta: meta.ObjectMeta{Labels: map[string]string{"a": "b"}}, Spec: core.PodSpec{Containers: []core.Container{{Name: "c", Image: "x",
			LivenessProbe: &core.Probe{ProbeHandler: core.ProbeHandler{HTTPGet: &core.HTTPGetAction{Path: "/", Port: intstr.FromString("http")}}}, Ports: []core.ContainerPort{{Name: "http", ContainerPort: 80}}}}}},
	}}, meta.CreateOptions{}))
	must(c.CoreV1().Services("default").Create(ctx, &core.Service{ObjectMeta: meta.ObjectMeta{Name: "go"}, Spec: core.ServiceSpec{Ports: []core.ServicePort{{Port: 80}}}}, meta.CreateOptions{}))
	scale := must(c.AppsV1().Deployments("default").GetScale(ctx, "go", meta.GetOptions{}))
	scale.Spec.Replicas = 0
	must(c.AppsV1().Deployments("default").UpdateScale(ctx, "go", scale, meta.UpdateOptions{}))
	fmt.Println("replicas:", *must(c.AppsV1().Deployments("default").Get(ctx, "go", meta.GetOptions{})).Spec.Replicas)
	applied := must(maps.Apply(ctx, applycore.ConfigMap("go", "default").WithData(map[string]string{"b": "3"}), meta.ApplyOptions{FieldManager: "go"}))
	fmt.Println("applied:", applied.Data)
	must(c.EventsV1().Events("default").Create(ctx, &events.Event{ObjectMeta: meta.ObjectMeta{Name: "go"}, EventTime: meta.NowMicro(), ReportingController: "x/y", ReportingInstance: "z", Action: "a", Reason: "r", Type: "Normal", Regarding: core.ObjectReference{Kind: "ConfigMap", Name: "go", Namespace: "default"}, Note: "hello"}, meta.CreateOptions{}))
	broadcaster := record.NewBroadcaster()
	broadcaster.StartRecordingToSink(&clientcore.EventSinkImpl{Interface: c.CoreV1().Events("")})
	recorder := broadcaster.NewRecorder(scheme.Scheme, core.EventSource{Component: "go"})
	for i := 0; i < 3; i++ {
		recorder.Event(m, "Warning", "Test", "the same")
	}
	time.Sleep(500 * time.Millisecond)
	for _, e := range must(c.CoreV1().Events("default").List(ctx, meta.ListOptions{FieldSelector: "reason=Test"})).Items {
		fmt.Println("event:", e.Message, e.Count)
	}
	must(c.CoordinationV1().Leases("default").Create(ctx, &coordination.Lease{ObjectMeta: meta.ObjectMeta{Name: "plain"}}, meta.CreateOptions{}))
	led := make(chan bool, 1)
	ctx2, cancel := context.WithCancel(ctx)
	go leaderelection.RunOrDie(ctx2, leaderelection.LeaderElectionConfig{
		Lock:          &resourcelock.LeaseLock{LeaseMeta: meta.ObjectMeta{Name: "lead", Namespace: "default"}, Client: c.CoordinationV1(), LockConfig: resourcelock.ResourceLockConfig{Identity: "me"}},
		LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 500 * time.Millisecond, ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{OnStartedLeading: func(context.Context) { led <- true }, OnStoppedLeading: func() {}},
	})
	fmt.Println("leading:", <-led)
	time.Sleep(1200 * time.Millisecond)
	lease := must(c.CoordinationV1().Leases("default").Get(ctx, "lead", meta.GetOptions{}))
	fmt.Println("renewed:", lease.Spec.RenewTime.After(lease.Spec.AcquireTime.Time))
	cancel()
	policy := meta.DeletePropagationForeground
	if err := c.AppsV1().Deployments("default").Delete(ctx, "go", meta.DeleteOptions{PropagationPolicy: &policy}); err != nil {
		fmt.Println("failed:", err)
	}
	if err := maps.DeleteCollection(ctx, meta.DeleteOptions{}, meta.ListOptions{FieldSelector: "metadata.name=go"}); err != nil {
		fmt.Println("failed:", err)
	}
	deadline := time.After(3 * time.Second)
	for done := false; !done; {
		select {
		case s := <-seen:
			if s == "delete go" {
				fmt.Println("informer saw the deletion")
				done = true
			}
		case <-deadline:
			fmt.Println("failed: the informer saw no deletion")
			done = true
		}
	}
	list := must(c.CoreV1().Pods("").List(ctx, meta.ListOptions{Limit: 1}))
	fmt.Println("pods:", len(list.Items))
}
