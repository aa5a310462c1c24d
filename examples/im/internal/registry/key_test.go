package registry_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/embedded"
	"github.com/libnet-go/libnet/examples/im/internal/imtest"
	"github.com/libnet-go/libnet/examples/im/internal/registry"
)

func TestTheFirstServersKeyIsThatOfAll(t *testing.T) {
	client := imtest.Connect(t, imtest.StartEtcd(t, t.TempDir()).Endpoint())
	ctx := imtest.Bounded(t)
	for _, step := range []struct {
		key  string
		want error
	}{{"a", nil}, {"a", nil}, {"b", registry.ErrOtherKey}, {"", registry.ErrOtherKey}, {"a", nil}} {
		if err := registry.AgreeOnKey(ctx, client, step.key); !errors.Is(err, step.want) {
			t.Errorf("%q: %v, want %v", step.key, err, step.want)
		}
	}
	if err := registry.ReplaceKey(ctx, client, "b"); err != nil {
		t.Fatal(err)
	}
	if err := registry.AgreeOnKey(ctx, client, "a"); !errors.Is(err, registry.ErrOtherKey) {
		t.Errorf("the key before: %v", err)
	}
	if err := registry.AgreeOnKey(ctx, client, "b"); err != nil {
		t.Error(err)
	}
}

func TestAgreeingWaitsForEtcdAndNoLongerThanItsContext(t *testing.T) {
	etcd := imtest.StartEtcd(t, t.TempDir())
	client := imtest.Connect(t, etcd.Endpoint())
	etcd.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := registry.AgreeOnKey(ctx, client, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without etcd: %v", err)
	}
	agreed := make(chan error, 1)
	go func() { agreed <- registry.AgreeOnKey(imtest.Bounded(t), client, "a") }()
	if err := etcd.Start(imtest.Bounded(t)); err != nil {
		t.Fatal(err)
	}
	if err := <-agreed; err != nil {
		t.Error(err)
	}
}

func TestAnEtcdMayAskWhoConnects(t *testing.T) {
	etcd := imtest.StartEtcd(t, t.TempDir())
	protect(t, etcd)
	connect := func(password string) error {
		client, err := registry.ConnectAs(registry.Access{User: "root", Password: password}, etcd.Endpoint())
		if err != nil {
			return err
		}
		defer client.Close()
		return registry.AgreeOnKey(imtest.Bounded(t), client, "a")
	}
	if err := connect("secret"); err != nil {
		t.Errorf("with the password: %v", err)
	}
	began := time.Now()
	if err := connect("guess"); err == nil || time.Since(began) > imtest.Patience/2 {
		t.Errorf("with another: %v after %v", err, time.Since(began))
	}
	if err := registry.AgreeOnKey(imtest.Bounded(t), imtest.Connect(t, etcd.Endpoint()), "a"); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a user: %v", err)
	}
}

// protect has an etcd ask for the password "secret" of the user root.
func protect(t *testing.T, etcd *embedded.Etcd) {
	t.Helper()
	client, ctx := imtest.Connect(t, etcd.Endpoint()), imtest.Bounded(t)
	_, err := client.UserAdd(ctx, "root", "secret")
	if err == nil {
		_, err = client.RoleAdd(ctx, "root")
	}
	if err == nil {
		_, err = client.UserGrantRole(ctx, "root", "root")
	}
	if err == nil {
		_, err = client.AuthEnable(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
}
