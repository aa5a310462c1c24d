package access

import (
	"errors"
	"sync/atomic"

	"github.com/libnet-go/libnet/examples/im/internal/token"
)

// counts is what an operator sees grow.
type counts struct {
	logins, wrongTokens, limited, loginsFailed atomic.Int64
	stored, failed                             atomic.Int64
}

// refused counts a login that was refused by its cause.
func (c *counts) refused(cause error) {
	switch {
	case errors.Is(cause, errTooManyLogins):
		c.limited.Add(1)
	case errors.Is(cause, token.ErrWrong), errors.Is(cause, token.ErrMissing):
		c.wrongTokens.Add(1)
	default:
		c.loginsFailed.Add(1)
	}
}
