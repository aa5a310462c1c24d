// Package faults is the fault programme: a messenger whose parts are processes of their own on hosts of their own,
// users who talk all the time, one fault after the other, and for each a line with figures.
//
//	err := faults.Run(ctx, []string{"-only", "kill-access"}, os.Stdout, os.Stderr)
//
// Three NATS servers with JetStream, an etcd, three access servers and a gateway are this program's own executable with
// other arguments: the last four are what an operator starts, with an operator's flags. Nothing is installed, and
// nothing stays: as root on Linux everything happens in namespaces (of processes, network and mounts) that the kernel
// removes with the last process in them. Elsewhere on Linux the servers have addresses of the loopback network, and
// faults that need a network of their own are skipped.
//
// run_linux.go is the command, sandbox_linux.go its namespaces, installation_linux.go the servers, try_linux.go what is
// the same for every fault, and catalogue_linux.go the list of them. Subpackage network has the hosts and their wires,
// process the processes.
package faults
