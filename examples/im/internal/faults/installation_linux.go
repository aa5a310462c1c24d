package faults

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/faults/network"
	"github.com/libnet-go/libnet/examples/im/internal/faults/process"
	"github.com/libnet-go/libnet/examples/im/internal/token"
)

const (
	// capacity of an access server: few enough that twice as many connections are soon there.
	capacity = 400
	// perAddress is how many connections an access server takes from one address: all users here have the same.
	perAddress = 250
	// drainTimeout is more than an access server takes to end by itself.
	drainTimeout = 15 * time.Second
	// natsDisk is how much a NATS server's disk holds.
	natsDisk = "384m"
	// natsUser is the access servers' name at NATS.
	natsUser = "im"
)

var (
	natsNames   = []string{"nats-1", "nats-2", "nats-3"}
	accessNames = []string{"access-1", "access-2", "access-3"}
)

// An installation is all processes of a messenger, and the hosts they run on.
type installation struct {
	dir, logs string
	net       *network.Network // nil: they are on the loopback network
	clients   *host            // this process
	stranger  netip.Addr       // another address of this process's
	etcd      *server
	nats      []*server
	access    []*server
	gateway   *server
	spare     *host // for an access server more

	tokens   *token.Tokens
	keyFile  string
	password string // of natsUser, and of the programme itself at NATS
	files    []*os.File
}

// A host is one of the network, or an address of the loopback network.
type host struct {
	name string
	addr netip.Addr
	on   *network.Host // nil: this machine
}

func (h *host) Start(cmd *exec.Cmd) error {
	if h.on == nil {
		return cmd.Start()
	}
	return h.on.Start(cmd)
}

// at is an address of the host.
func (h *host) at(port int) string { return netip.AddrPortFrom(h.addr, uint16(port)).String() }

// A server is a process with its address for clients.
type server struct {
	*process.Process
	host *host
	addr string
}

// install makes hosts, files and configurations. Nothing is started.
func install(dir, logs string, sandbox bool) (_ *installation, err error) {
	in := &installation{dir: dir, logs: logs, password: rand.Text()}
	defer func() {
		if err != nil {
			in.stop()
		}
	}()
	if err := in.makeKey(); err != nil {
		return nil, err
	}
	add, err := in.hosts(sandbox)
	if err != nil {
		return nil, err
	}
	for _, step := range []func(func(string, byte) *host) error{in.installNATS, in.installEtcd, in.installIM} {
		if err := step(add); err != nil {
			return nil, err
		}
	}
	in.spare = add("access-4", 44)
	return in, err
}

// hosts returns what makes a host; its error is found in the installation's err.
func (in *installation) hosts(sandbox bool) (add func(name string, number byte) *host, err error) {
	if !sandbox {
		var third [1]byte
		_, _ = rand.Read(third[:])
		addr := func(number byte) netip.Addr { return netip.AddrFrom4([4]byte{127, 77, third[0], number}) }
		in.clients, in.stranger = &host{name: "clients", addr: addr(1)}, addr(2)
		return func(name string, number byte) *host { return &host{name: name, addr: addr(number)} }, nil
	}
	addr := func(number byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 77, 0, number}) }
	in.net, in.stranger = network.New(netip.PrefixFrom(addr(0), 16)), addr(2)
	here, err := in.net.Join("clients", addr(1), in.stranger)
	if err != nil {
		return nil, err
	}
	in.clients = &host{"clients", addr(1), here}
	hosts := make(map[string]*host)
	for name, number := range map[string]byte{
		"nats-1": 11, "nats-2": 12, "nats-3": 13, "etcd": 21, "gateway": 31,
		"access-1": 41, "access-2": 42, "access-3": 43, "access-4": 44,
	} {
		on, err := in.net.Add(name, addr(number))
		if err != nil {
			return nil, err
		}
		hosts[name] = &host{name, addr(number), on}
	}
	return func(name string, _ byte) *host { return hosts[name] }, nil
}

// makeKey writes the access servers' key, and their password for NATS.
func (in *installation) makeKey() (err error) {
	if err := os.WriteFile(in.passwordFile(), []byte(in.password), 0o600); err != nil {
		return err
	}
	key := token.NewKey()
	in.keyFile = filepath.Join(in.dir, "key")
	if err := token.WriteKeyFile(in.keyFile, key); err != nil {
		return err
	}
	in.tokens, err = token.New(key, "")
	return err
}

// server is one that is to be started with these arguments.
func (in *installation) server(h *host, port int, args ...string) (*server, error) {
	log, err := os.Create(filepath.Join(in.logs, h.name+".log"))
	if err != nil {
		return nil, err
	}
	in.files = append(in.files, log)
	return &server{&process.Process{Name: h.name, Args: args, Host: h, Log: log}, h, h.at(port)}, nil
}

func (in *installation) installEtcd(add func(string, byte) *host) (err error) {
	h := add("etcd", 21)
	config := fmt.Sprintf(`
name: etcd
data-dir: %[1]s
listen-client-urls: http://%[2]s
advertise-client-urls: http://%[2]s
listen-peer-urls: http://%[3]s
initial-advertise-peer-urls: http://%[3]s
initial-cluster: etcd=http://%[3]s
unsafe-no-fsync: true
log-level: warn
`, filepath.Join(in.dir, "etcd"), h.at(2379), h.at(2380))
	file := filepath.Join(in.dir, "etcd.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	in.etcd, err = in.server(h, 2379, "faults", "etcd", file)
	return err
}

func (in *installation) installIM(add func(string, byte) *host) error {
	for i, name := range accessNames {
		s, err := in.accessServer(add(name, byte(41+i)), in.keyFile)
		if err != nil {
			return err
		}
		in.access = append(in.access, s)
	}
	h := add("gateway", 31)
	var err error
	in.gateway, err = in.server(h, 7000, "gateway", "-v", "-etcd", in.etcd.addr, "-listen", h.at(7000))
	return err
}

// accessServer is one with the flags that an operator would give.
func (in *installation) accessServer(h *host, keyFile string, more ...string) (*server, error) {
	args := []string{"access", "-v", "-id", h.name, "-etcd", in.etcd.addr,
		"-nats", in.natsURLs(), "-nats-user", natsUser, "-nats-password-file", in.passwordFile(),
		"-listen", h.at(7000), "-listen-websocket", h.at(7001), "-capacity", fmt.Sprint(capacity),
		"-max-per-address", fmt.Sprint(perAddress), "-key-file", keyFile, "-replicas", fmt.Sprint(len(natsNames))}
	return in.server(h, 7000, append(args, more...)...)
}

// natsURLs are those of all NATS servers.
func (in *installation) natsURLs() string {
	var urls []string
	for _, s := range in.nats {
		urls = append(urls, "nats://"+s.addr)
	}
	return strings.Join(urls, ",")
}

func (in *installation) passwordFile() string { return filepath.Join(in.dir, "nats-password") }

// natsNamed is the NATS server of that name; nil: there is none.
func (in *installation) natsNamed(name string) *server {
	for _, s := range in.nats {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// processes are all that should run, in the order in which they need each other.
func (in *installation) processes() []*server {
	all := append([]*server{in.etcd}, in.nats...)
	return append(append(all, in.access...), in.gateway)
}

// start starts those that do not run.
func (in *installation) start() error {
	var errs []error
	for _, s := range in.processes() {
		errs = append(errs, s.Start())
	}
	return errors.Join(errs...)
}

// stop kills everything.
func (in *installation) stop() {
	for _, s := range append(in.access, in.gateway, in.etcd) {
		if s != nil {
			s.Kill()
		}
	}
	for _, s := range in.nats {
		s.Kill()
	}
	if in.net != nil {
		in.net.Close()
	}
	for _, f := range in.files {
		_ = f.Close()
	}
}
