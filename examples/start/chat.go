package main

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/mux"
)

// What clients send. On the wire it is {"type":"login","id":1,"data":{"name":"ann","password":"secret"}}.
type (
	login struct {
		Name     string `json:"name"`
		Password string `json:"password"`
	}
	say struct {
		Text string `json:"text"`
	}
)

// What the server sends.
type (
	welcome struct { // the reply to a login
		Members int `json:"members"`
	}
	said struct {
		From string `json:"from"`
		Text string `json:"text"`
	}
)

// A chat is one room. Sessions leave it by themselves when they end.
type chat struct {
	password string // everybody's: it stands for asking whoever knows the users
	room     libnet.Group[string]
	door     *mux.Mux // what is handled before the login: nothing but that
	inside   *mux.Mux // what is handled after it
}

func newChat(password string) *chat {
	c := &chat{password: password, door: mux.New(mux.JSON), inside: mux.New(mux.JSON)}
	mux.Handle(c.door, "login", c.login)
	mux.On(c.inside, "say", c.say)
	return c
}

// protocol is what terminals speak: 4 bytes of length, then JSON. Browsers get the JSON without the length.
func (c *chat) protocol() libnet.Protocol { return codec.New(codec.Uint32BE, c.inside) }

// limit sets what nobody may exceed, and how one gets in.
func (c *chat) limit(srv *libnet.Server) {
	srv.MaxSessions, srv.MaxSessionsPerIP = 10_000, 50
	srv.HandshakeTimeout = 10 * time.Second        // for TLS and the login
	srv.IdleTimeout = time.Minute                  // clients say something at least this often
	srv.MaxMessage = 4 << 10                       // bytes
	srv.RateLimit = libnet.RateLimit{Messages: 20} // a second; who sends more waits
	srv.OnFull = libnet.CloseSession               // who is that many messages behind is ended, and misses none unawares
	srv.OnSession = c.admit
}

var errNoLogin = errors.New("no login, or a wrong password")

// admit lets a session in whose first message is a login. The door has replied by then; an error ends the session.
func (c *chat) admit(s *libnet.Session) error {
	msg, err := s.Receive()
	if err != nil {
		return err
	}
	c.door.ServeMessage(s, msg)
	if s.State == nil {
		return errNoLogin
	}
	return nil
}

func (c *chat) login(_ context.Context, s *libnet.Session, req *login) (*welcome, error) {
	if req.Password != c.password || !isText(req.Name, 32) {
		return nil, &mux.Error{Code: 401, Text: "wrong name or password"} // the client is told this; of another error, that there was one
	}
	s.State = req.Name
	s.SetName(req.Name) // for the monitor and the log
	if old := c.room.Swap(req.Name, s); old != nil {
		old.CloseWithError(errors.New("logged in elsewhere"))
	}
	return &welcome{Members: c.room.Len()}, nil
}

func (c *chat) say(_ context.Context, s *libnet.Session, req *say) error {
	if !isText(req.Text, 3000) {
		return &mux.Error{Code: 400, Text: "no text, or too long"}
	}
	c.room.Broadcast(mux.Message{Kind: "said", Body: &said{s.State.(string), req.Text}}) // waits for no member
	return nil
}

// isText is what others are shown: a terminal that prints it has nothing to obey.
func isText(s string, most int) bool {
	return s != "" && len(s) <= most && !strings.ContainsFunc(s, unicode.IsControl)
}
