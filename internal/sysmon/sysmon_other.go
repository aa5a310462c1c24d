//go:build !linux

package sysmon

// AfterWait has nothing to do: package syscall tells the scheduler of each read.
func AfterWait() {}
