package libnet_test

import "syscall"

// onlyHere are errors of accept(2) that other systems do not have.
var onlyHere = []syscall.Errno{syscall.ENONET}
