package registry

import (
	"crypto/tls"
	"errors"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// Access is what an etcd asks for of who connects to it. The zero value is for one that asks for nothing.
type Access struct {
	TLS            *tls.Config // nil: no TLS
	User, Password string      // "": none
}

// refuses reports whether an error says that etcd knows the client and does not let it in, or not do what it asked: to
// try again is no use.
func refuses(err error) bool {
	for _, refusal := range []error{
		rpctypes.ErrAuthFailed, rpctypes.ErrAuthNotEnabled, rpctypes.ErrPermissionDenied, rpctypes.ErrUserEmpty,
	} {
		if errors.Is(err, refusal) || rpctypes.Error(err) == refusal {
			return true
		}
	}
	return false
}
