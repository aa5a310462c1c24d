// Package gogotest compares codec.Proto with github.com/gogo/protobuf, whose messages it encodes, on that
// module's own test messages.
package gogotest
