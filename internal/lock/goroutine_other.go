//go:build (lockcheck || schedules) && !amd64

package lock

import (
	"bytes"
	"runtime"
	"strconv"
)

// goroutine identifies the caller by its number, which the runtime tells nowhere else: "goroutine 7 [running]:".
func goroutine() uintptr {
	var buf [64]byte
	fields := bytes.Fields(buf[:runtime.Stack(buf[:], false)])
	id, err := strconv.ParseUint(string(fields[1]), 10, 64)
	if err != nil {
		panic("libnet: a stack without its goroutine's number: " + err.Error())
	}
	return uintptr(id)
}
