package registry_test

import (
	"encoding/json"
	"testing"

	"github.com/libnet-go/libnet/examples/im/internal/registry"
)

// What is in etcd may have been put there by anybody: it is refused or describes a server that can be
// dialled and weighed.
func FuzzDecodeServer(f *testing.F) {
	good, err := json.Marshal(server("a"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"id":"a","addr":"x","capacity":0}`))
	f.Add([]byte(`{"id":"a","addr":"x","capacity":1e99}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, value []byte) {
		s, err := registry.DecodeServer(value, 7)
		if err != nil {
			return
		}
		if s.ID == "" || s.Addr == "" || s.Capacity < 1 || s.Sessions < 0 || s.Report != 7 {
			t.Errorf("%q is %+v", value, s)
		}
	})
}
