// Package readbuf promises that received bytes are held in storage which follows them: a connection that waits
// for the rest of a frame holds twice what has arrived of it at most, and 4 KiB more, one that waits between
// frames holds none; a large read is offered only where much came before; and a frame of any size costs copying
// in proportion to its size. Storage is reused: in a steady state a [Buffer] allocates nothing but the copies
// that [Buffer.Copy] makes.
//
// A read takes three calls:
//
//	p := b.Space(size)      // or WaitingSpace, where the read waits with p in hand
//	n, err := conn.Read(p)
//	b.Commit(n)
//
// What is to be looked at is then Unread, up to Advance. Before a wait, Shrink gives back what is not needed.
//
// A Buffer belongs to one goroutine at a time. What Unread returns stays as it is until Space, WaitingSpace, Shrink
// or Release is called, also the part that Advance has dropped.
package readbuf
