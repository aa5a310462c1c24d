// Package proxyproto promises that of a connection that begins with a header of the PROXY protocol the header is read,
// whole, and not a byte of what lies behind it: so whatever comes next, TLS or a session, reads the connection as if
// there had been none.
//
// The rules are those of "The PROXY protocol, Versions 1 & 2" (haproxy's doc/proxy-protocol.txt); the comments name its
// sections. [Parse] looks at the bytes so far and waits for nobody; [Read] reads for it, never more than what is sure
// to belong to the header. It knows of no conn and no session: who may send a header, and how long it may take, is the
// caller's to say.
package proxyproto
