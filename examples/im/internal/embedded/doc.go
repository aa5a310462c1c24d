// Package embedded runs the two servers that the messenger stands on inside this process: real ones,
// with their data in a folder and their ports on the loopback interface, so that the messenger starts
// with one command and its tests meet what a real installation meets.
//
//	etcd, err := embedded.StartEtcd(ctx, filepath.Join(dir, "etcd"))
//	if err != nil { ... }
//	defer etcd.Stop()
//	client, err := registry.Connect(etcd.Endpoint())
//
// Both can be stopped and started again on the same data and the same port: that is how outages are
// made.
package embedded
