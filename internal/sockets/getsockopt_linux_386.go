package sockets

// sysGetsockopt is the number of getsockopt(2) on 386, which package syscall reaches through socketcall(2) (Linux 4.3
// and later).
const sysGetsockopt = 365
