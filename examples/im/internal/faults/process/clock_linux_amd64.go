package process

import (
	"encoding/binary"
	"math"
	"time"
)

const clockSymbol = "__vdso_clock_gettime"

// clockCode is a clock_gettime that asks the kernel and adds whole seconds to the wall clock.
func clockCode(ahead time.Duration) ([]byte, error) {
	seconds := int64(ahead / time.Second)
	if seconds != int64(int32(seconds)) || seconds > math.MaxInt32/2 {
		return nil, ErrNoClock
	}
	code := []byte{
		0xb8, 0xe4, 0, 0, 0, // mov eax, 228: clock_gettime
		0x0f, 0x05, // syscall: of the clock in edi, to where rsi says
		0x85, 0xff, // test edi, edi: 0 is the wall clock
		0x75, 0x07, // jnz to ret
		0x48, 0x81, 0x06, // add qword [rsi], seconds
	}
	code = binary.LittleEndian.AppendUint32(code, uint32(int32(seconds)))
	return append(code, 0xc3), nil // ret
}
