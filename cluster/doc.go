// Package cluster carries messages to sessions on other servers, over NATS.
package cluster
