package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/mux"
)

// limits are those of a server to which anybody may connect. Others, like the time that a write may take, have
// defaults.
var limits = libnet.Config{
	SendQueue:        256,                            // messages may wait for each client
	OnFull:           libnet.CloseSession,            // one that takes none of them is thrown out, and nobody waits for it
	MaxMessage:       64 << 10,                       // bytes
	RateLimit:        libnet.RateLimit{Messages: 20}, // a second; who sends more is made to wait
	HandshakeTimeout: 10 * time.Second,               // until a first message
	IdleTimeout:      time.Minute,                    // a client that answers no pings has vanished
	Heartbeat: libnet.Heartbeat{
		Interval: 20 * time.Second,
		Message:  func(*libnet.Session) any { return mux.Message{Kind: "ping"} },
	},
}

// A chat is what the server knows. Sessions leave both groups by themselves when they end.
type chat struct {
	password string                        // everybody's: it stands for asking whoever knows the users
	users    libnet.Group[string]          // sessions by name
	rooms    libnet.Groups[string, string] // sessions by room and name; a room is there while somebody is in it

	mu sync.Mutex // held while somebody comes or goes and the others are told, so that they are told in that order
}

// A user is the State of a session that has logged in.
type user struct {
	name string
	room string // written under chat.mu, by the session's own handlers; "" before the first
}

// routes says what handles which message.
func (c *chat) routes() *mux.Mux {
	m := mux.New(mux.JSON, loggedIn)
	mux.On(m, "login", c.login)
	mux.On(m, "join", c.join)
	mux.On(m, "say", c.say)
	mux.On(m, "whisper", c.whisper)
	mux.Handle(m, "who", c.who)
	mux.On(m, "pong", func(context.Context, *libnet.Session, *struct{}) error { return nil })
	return m
}

// loggedIn is put around all handlers: before a login nothing but a login gets through.
func loggedIn(next mux.Handler) mux.Handler {
	return func(ctx context.Context, r mux.Request) (any, error) {
		if r.Session.State == nil && r.Kind != "login" {
			return nil, refuse(401, "log in first")
		}
		return next(ctx, r)
	}
}

// refuse makes an error that the client is told. Of any other it would learn only that there was one.
func refuse(code uint32, text string) error { return &mux.Error{Code: code, Text: text} }

func (c *chat) login(_ context.Context, s *libnet.Session, req *Login) error {
	switch {
	case s.State != nil:
		return refuse(409, "you have logged in already")
	case req.Password != c.password || !isName(req.Name):
		return refuse(401, "wrong name or password")
	}
	u := &user{name: req.Name}
	s.SetName(u.name) // for logs and the monitor
	c.belongs(s, u)
	if old := c.users.Swap(u.name, s); old != nil {
		old.Send(mux.Message{Kind: "farewell", Body: &Farewell{"you have logged in elsewhere"}})
		go old.ShutdownWithError(context.Background(), errors.New("logged in elsewhere")) // when that is delivered
	}
	return nil
}

// belongs has s be u's, until it ends. One that goes on in another process is not gone.
func (c *chat) belongs(s *libnet.Session, u *user) {
	s.State = u
	s.OnClose(func() {
		if s.Err() != libnet.ErrHandedOver {
			c.gone(u)
		}
	})
}

func (c *chat) join(_ context.Context, s *libnet.Session, req *Join) error {
	u := s.State.(*user)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !isName(req.Room) || c.users.Get(u.name) != s { // s has been replaced, or has ended, while this waited
		return refuse(400, "no name for a room, or you have left")
	}
	c.rooms.Get(u.room).Remove(u.name, s)
	c.tellLeft(u)
	known := c.rooms.Get(req.Room).Get(u.name) != nil // with another session, which is about to end
	c.rooms.Put(req.Room, u.name, s)
	u.room = req.Room
	s.Send(mux.Message{Kind: "members", Body: c.members(u.room)})
	if !known {
		c.rooms.Get(u.room).BroadcastExcept(mux.Message{Kind: "joined", Body: &Joined{u.name}}, s)
	}
	return nil
}

// gone is called when a session has ended, however it did.
func (c *chat) gone(u *user) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tellLeft(u)
}

// tellLeft tells those in a user's room that the user is not, unless another session of the same name is.
func (c *chat) tellLeft(u *user) {
	if room := c.rooms.Get(u.room); room.Get(u.name) == nil {
		room.Broadcast(mux.Message{Kind: "left", Body: &Left{u.name}})
	}
}

func (c *chat) say(_ context.Context, s *libnet.Session, req *Say) error {
	u := s.State.(*user)
	if u.room == "" || !isText(req.Text) {
		return refuse(400, "in no room, or no text, or too long")
	}
	c.rooms.Get(u.room).Broadcast(mux.Message{Kind: "said", Body: &Said{u.name, req.Text}})
	return nil
}

func (c *chat) whisper(_ context.Context, s *libnet.Session, req *Whisper) error {
	if !isText(req.Text) {
		return refuse(400, "no text, or too long")
	}
	to := c.users.Get(req.To)
	if to == nil || to.Send(mux.Message{Kind: "whispered", Body: &Whispered{s.State.(*user).name, req.Text}}) != nil {
		return refuse(404, "there is no such user")
	}
	return nil
}

func (c *chat) who(_ context.Context, s *libnet.Session, _ *struct{}) (*Members, error) {
	return c.members(s.State.(*user).room), nil
}

func (c *chat) members(room string) *Members {
	m := &Members{Room: room}
	for name := range c.rooms.Get(room).All() {
		m.Names = append(m.Names, name)
	}
	slices.Sort(m.Names)
	return m
}
