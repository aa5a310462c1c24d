package wire

import (
	"context"
	"errors"
	"fmt"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/mux"
)

// Kind is a command's name to a mux.
func Kind(cmd uint32) mux.Kind { return mux.Number(uint64(cmd)) }

// NewMux returns a mux without handlers that speaks this protocol. The middleware is put around all kinds. An answer may
// leave out its command. A handler refuses with a *mux.Error, which is sent in the form of the command's answer. A command
// without a handler is refused with the text unknown, in which %s stands for it. A request that cannot be decoded ends
// its session without an answer, which would be more than it cost to ask.
func NewMux(unknown string, around ...mux.Middleware) *mux.Mux {
	formed := func(next mux.Handler) mux.Handler {
		return func(ctx context.Context, r mux.Request) (any, error) {
			answer, err := next(ctx, r)
			var refusal *mux.Error
			if !errors.As(err, &refusal) {
				return answer, err
			}
			switch refusal.Code {
			case mux.CodeBadBody:
				_ = r.Session.CloseWithError(fmt.Errorf("%w: %w", mux.ErrMalformed, err))
				return nil, err
			case mux.CodeUnknownKind:
				return nil, &mux.Error{Code: CodeServer, Text: fmt.Sprintf(unknown, r.Kind)}
			}
			cmd, _ := r.Kind.Number()
			answer = Refuse(uint32(cmd), refusal.Code, refusal.Text)
			if e, ok := answer.(*Error); ok && e.Cmd == CmdError {
				return nil, refusal // the mux makes an Error of it
			}
			return answer, nil
		}
	}
	return mux.New(mux.Proto(CmdError), append([]mux.Middleware{formed}, around...)...)
}

// MuxProtocol is [Protocol] for the sessions of a mux. Send takes a mux.Message, or a []byte that is a payload already.
func MuxProtocol(m *mux.Mux) libnet.Protocol { return framed(m) }
