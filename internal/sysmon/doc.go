// Package sysmon promises that the runtime's monitor looks soon after a goroutine has begun to work on what came from
// the network, so that one which then computes without end takes a processor from the others for 0.1 s at the most.
//
// The monitor (the function sysmon of package runtime) takes a processor from a goroutine that has had it for 10 ms,
// and polls the network while no processor has the time. Once all are idle it sleeps, for a minute if nothing wakes it:
// a timer that is due, or a system call of which the scheduler is told. What comes from the network does not, since a
// goroutine that was woken by that goes on to read, which is such a call. libnet's reads are none. So nothing else ran
// while the first handler after a pause computed: on one processor no goroutine at all, on more of them nobody who
// waits for the network, unless a thread did so already.
//
// Telling the scheduler after each wait costs a third of a small message with one connection. Here one wait in 50 ms
// does that, and a timer that is pending from then on keeps the monitor from sleeping for longer.
package sysmon
