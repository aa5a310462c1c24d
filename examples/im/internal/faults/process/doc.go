// Package process runs servers as processes that can be killed, halted, and given a wrong clock. It is for Linux.
//
//	p := &process.Process{Name: "access-1", Args: []string{"access", "-id", "access-1"}, Host: host, Log: file}
//	err := p.Start()
//	p.Halt()   // SIGSTOP
//	p.Resume() // SIGCONT
//	p.Kill()   // SIGKILL, and waits
//
// Each process runs this program's own executable. All die with this one, however it ends.
package process
