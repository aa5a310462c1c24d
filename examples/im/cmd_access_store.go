package main

import (
	"github.com/libnet-go/libnet/examples/im/internal/access"
)

// withStore adds the flags about what is stored. What is left at 0 has its default in a new store, and is left as it is
// in one that exists.
func withStore(flags *flags, o *access.InstanceOptions) {
	h, q := &o.History, &o.Quotas
	flags.IntVar(&h.Replicas, "replicas", 0, "how many NATS servers hold what is stored; 1 in a new store. A store is never reduced")
	flags.Int64Var(&h.MaxBytes, "store-bytes", 0, "how many `bytes` are stored of all messages; 1 GiB in a new store, -1: as many as NATS allows. A full store refuses messages")
	flags.DurationVar(&h.MaxAge, "store-age", 0, "how long messages are kept; 720h in a new store, -1s: for ever")
	flags.Int64Var(&h.MaxPerSubject, "store-messages", 0, "how many messages are kept to one user, or in one group; 100,000 in a new store, -1: no bound. Beyond it messages to them are refused")
	flags.IntVar(&q.PerSecond, "sender-rate", 0, "how many messages a `second` one user may send in the long run; default 20, -1: no bound")
	flags.IntVar(&q.Burst, "sender-burst", 0, "how many of them at once; default 200")
	flags.IntVar(&q.Share, "sender-share", 0, "how many messages of one user are kept to one other, or in one group; default 10,000, -1: no bound")
	flags.Int64Var(&q.Bytes, "sender-bytes", 0, "how many `bytes` are stored of one user; default 32 MiB, -1: no bound")
}
