package main

import (
	"crypto/tls"
	"errors"
	"net/url"

	"github.com/nats-io/nats.go"

	"github.com/libnet-go/libnet/examples/im/internal/registry"
	"github.com/libnet-go/libnet/examples/im/internal/tlsfiles"
)

// etcdFlags say where an etcd is and what it asks for.
type etcdFlags struct{ at, ca, cert, key, user, passwordFile string }

// natsFlags say where a NATS is and what it asks for.
type natsFlags struct{ at, creds, ca, cert, key, user, passwordFile string }

func (f *flags) withEtcd(byDefault string) {
	e := &f.etcdFlags
	f.StringVar(&e.at, "etcd", "", "etcd's `addresses`, host:port, with commas between them"+byDefault)
	f.StringVar(&e.ca, "etcd-ca", "", "`file` with the authorities that etcd's certificate is trusted by: etcd is spoken to over TLS")
	f.StringVar(&e.cert, "etcd-cert", "", "`file` with the certificate to show to etcd")
	f.StringVar(&e.key, "etcd-key", "", "`file` with that certificate's key")
	f.StringVar(&e.user, "etcd-user", "", "etcd's `user` to log in as")
	f.StringVar(&e.passwordFile, "etcd-password-file", "", "`file` with that user's password; default the environment's IM_ETCD_PASSWORD")
}

func (f *flags) withNATS(byDefault string) {
	n := &f.natsFlags
	f.StringVar(&n.at, "nats", "", "`URLs` of a NATS with JetStream, with commas between them"+byDefault)
	f.StringVar(&n.creds, "nats-creds", "", "`file` with NATS credentials: a user's JWT and seed")
	f.StringVar(&n.ca, "nats-ca", "", "`file` with the authorities that NATS's certificate is trusted by: NATS is spoken to over TLS")
	f.StringVar(&n.cert, "nats-cert", "", "`file` with the certificate to show to NATS")
	f.StringVar(&n.key, "nats-key", "", "`file` with that certificate's key")
	f.StringVar(&n.user, "nats-user", "", "NATS's `user` to log in as")
	f.StringVar(&n.passwordFile, "nats-password-file", "", "`file` with that user's password, read again at each login; default the environment's IM_NATS_PASSWORD")
}

// endpoints and access are for registry.ConnectAs.
func (e etcdFlags) endpoints() []string { return list(e.at) }

func (e etcdFlags) access() (a registry.Access, err error) {
	if e.ca != "" || e.cert != "" || e.key != "" {
		if a.TLS, err = tlsfiles.Client(e.ca, e.cert, e.key); err != nil {
			return a, err
		}
	}
	a.User = e.user
	if a.Password, err = secret(e.passwordFile, "IM_ETCD_PASSWORD"); err != nil {
		return a, err
	}
	switch {
	case a.User == "" && e.passwordFile != "":
		return a, errors.New("-etcd-password-file is whose? -etcd-user is missing")
	case a.User != "" && a.Password == "":
		return a, errors.New("-etcd-user needs a password: -etcd-password-file or IM_ETCD_PASSWORD")
	case a.User == "":
		a.Password = ""
	}
	return a, nil
}

// urls, tls and options are for cluster.Options.
func (n natsFlags) urls() []string { return list(n.at) }

func (n natsFlags) tls() (*tls.Config, error) {
	if n.ca == "" && n.cert == "" && n.key == "" {
		return nil, nil
	}
	return tlsfiles.Client(n.ca, n.cert, n.key)
}

func (n natsFlags) options() ([]nats.Option, error) {
	password, err := secret(n.passwordFile, "IM_NATS_PASSWORD")
	switch {
	case err != nil:
		return nil, err
	case n.creds != "" && n.user != "":
		return nil, errors.New("-nats-creds and -nats-user are two ways to log in: it takes one")
	case n.creds != "":
		if _, err := secret(n.creds, ""); err != nil {
			return nil, err
		}
		return []nats.Option{nats.UserCredentials(n.creds)}, nil
	case n.user == "" && n.passwordFile != "":
		return nil, errors.New("-nats-password-file is whose? -nats-user is missing")
	case n.user == "":
		return nil, nil
	case password == "":
		return nil, errors.New("-nats-user needs a password: -nats-password-file or IM_NATS_PASSWORD")
	}
	return []nats.Option{nats.UserInfoHandler(func() (string, string) {
		if now, err := secret(n.passwordFile, "IM_NATS_PASSWORD"); err == nil {
			password = now // while the file is being replaced, the one before
		}
		return n.user, password
	})}, nil
}

// tellsAll reports whether a URL holds a password or token.
func (n natsFlags) tellsAll() bool {
	for _, at := range n.urls() {
		if u, err := url.Parse(at); err == nil && u.User != nil {
			return true
		}
	}
	return false
}
