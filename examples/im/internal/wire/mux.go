package wire

import (
	"context"
	"errors"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/mux"
)

// Kind is a command's name to a mux.
func Kind(cmd uint32) mux.Kind { return mux.Number(uint64(cmd)) }

// NewMux returns a mux without handlers that speaks this protocol. The middleware is put around all kinds. An answer
// may leave out its command. A handler refuses with a *mux.Error, which is sent in the form of the command's answer. A
// command without a handler is not answered, and a request that cannot be decoded is with an Error: so does the
// original server. Messages are passed to [Serve].
func NewMux(around ...mux.Middleware) *mux.Mux {
	formed := func(next mux.Handler) mux.Handler {
		return func(ctx context.Context, r mux.Request) (any, error) {
			answer, err := next(ctx, r)
			var refusal *mux.Error
			if !errors.As(err, &refusal) {
				return answer, err
			}
			switch refusal.Code {
			case mux.CodeBadBody:
				return nil, &mux.Error{Code: CodeServer, Text: TextServer} // the mux makes an Error of it
			case mux.CodeUnknownKind:
				return nil, mux.ErrNoReply
			}
			cmd, _ := r.Kind.Number()
			answer = Refuse(uint32(cmd), refusal.Code, refusal.Text)
			if e, ok := answer.(*Error); ok && e.Cmd == CmdError {
				return nil, mux.ErrNoReply // the command has no answer
			}
			return answer, nil
		}
	}
	return mux.New(mux.Proto(CmdError), append([]mux.Middleware{formed}, around...)...)
}

// Serve has m serve a message of a client. What is no protobuf message is answered with an Error, and what has no
// command of a request with nothing, as by the original server; neither ends the session.
func Serve(m *mux.Mux, s *libnet.Session, payload []byte) {
	switch cmd, ok := command(payload); {
	case !ok:
		_ = s.Send(Encode(Fail(CmdError, CodeServer, TextServer))) // a session whose queue is full has answers enough
	case cmd != 0 && cmd != CmdError:
		m.ServeMessage(s, payload)
	}
}

// MuxProtocol is [Protocol] for the sessions of a mux. Send takes a mux.Message, or a []byte that is a payload already.
func MuxProtocol(m *mux.Mux) libnet.Protocol { return framed(m) }
