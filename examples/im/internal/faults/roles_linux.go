package faults

import (
	"context"
	"errors"
	"io"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"go.etcd.io/etcd/server/v3/embed"
)

// roles are the processes of this programme, besides im's own commands.
var roles map[string]func(ctx context.Context, args []string, out, log io.Writer) error

func init() {
	roles = map[string]func(context.Context, []string, io.Writer, io.Writer) error{
		"inside": inside,
		"nats":   runNATS,
		"etcd":   runEtcd,
	}
}

var errRole = errors.New("a role of the fault programme takes one file: the programme starts it")

// runNATS is a NATS server with a configuration file: nats-server -config.
func runNATS(_ context.Context, args []string, _, _ io.Writer) error {
	if len(args) != 1 {
		return errRole
	}
	o, err := natsserver.ProcessConfigFile(args[0])
	if err != nil {
		return err
	}
	s, err := natsserver.NewServer(o)
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	s.Start()
	s.WaitForShutdown() // it heeds signals itself
	return nil
}

// runEtcd is an etcd with a configuration file: etcd --config-file.
func runEtcd(ctx context.Context, args []string, _, _ io.Writer) error {
	if len(args) != 1 {
		return errRole
	}
	config, err := embed.ConfigFromFile(args[0])
	if err != nil {
		return err
	}
	e, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	defer e.Close()
	select {
	case <-ctx.Done():
		return nil
	case err := <-e.Err():
		return err
	}
}
