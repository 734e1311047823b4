// The least controller with controller-runtime that watches what the operator watches most of: policies, and pods and
// service accounts by their metadata. It does nothing with them. It prints a line when its caches are full.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	logging "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func partial(kind string) client.Object {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: kind})
	return object
}

func run() error {
	logging.SetLogger(logr.Discard())
	manager, err := ctrl.NewManager(ctrl.GetConfigOrDie(), ctrl.Options{
		Metrics: server.Options{BindAddress: "0"},
	})
	if err != nil {
		return err
	}
	policy := &unstructured.Unstructured{}
	policy.SetGroupVersionKind(schema.GroupVersionKind{Group: "hallpass.dev", Version: "v1alpha1", Kind: "TokenPolicy"})
	nothing := reconcile.Func(func(context.Context, reconcile.Request) (reconcile.Result, error) {
		return reconcile.Result{}, nil
	})
	none := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request { return nil })
	err = ctrl.NewControllerManagedBy(manager).Named("policies").For(policy).
		Watches(partial("Pod"), none).Watches(partial("ServiceAccount"), none).Complete(nothing)
	if err != nil {
		return err
	}
	ctx := ctrl.SetupSignalHandler()
	go func() {
		<-manager.Elected()
		for _, object := range []client.Object{policy, partial("Pod"), partial("ServiceAccount")} {
			// it is there once its cache is full
			if _, err := manager.GetCache().GetInformer(ctx, object); err != nil {
				log.Fatal(err)
			}
		}
		fmt.Println("synced")
	}()
	return manager.Start(ctx)
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}
