package hostile

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"syscall"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
)

// A userListener is a listener of the user's.
type userListener struct {
	net.Listener
	b *bomb
}

func (l *userListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	kept := false
	defer func() {
		if !kept {
			_ = conn.Close()
		}
	}()
	does := l.b.at("net.Listener.Accept")
	kept = does == "" || does == givesBoth
	switch does {
	case "":
		return conn, nil
	case givesTyped:
		return (*userConn)(nil), nil
	case givesBoth:
		return conn, syscall.ECONNABORTED
	}
	return nil, l.b.failure(does)
}

func (l *userListener) Close() error {
	defer l.Listener.Close()
	return l.b.failure(l.b.at("net.Listener.Close"))
}

func (l *userListener) Addr() net.Addr {
	l.b.at("net.Listener.Addr")
	return l.Listener.Addr()
}

// A userConn is a conn of the user's, over one of package net.
type userConn struct {
	net.Conn
	b *bomb
}

func (c *userConn) moved(does behaviour, n, most int) (int, error) {
	switch does {
	case givesLess:
		return -1, nil
	case givesMore:
		return most + 1, nil
	case givesNil:
		return 0, nil
	}
	return n, c.b.failure(does)
}

func (c *userConn) Read(p []byte) (int, error) {
	if does := c.b.at("net.Conn.Read"); does != "" {
		return c.moved(does, 0, len(p))
	}
	return c.Conn.Read(p)
}

func (c *userConn) Write(p []byte) (int, error) {
	if does := c.b.at("net.Conn.Write"); does != "" {
		return c.moved(does, 0, len(p))
	}
	return c.Conn.Write(p)
}

func (c *userConn) Close() error {
	defer c.Conn.Close()
	return c.b.failure(c.b.at("net.Conn.Close"))
}

func (c *userConn) CloseWrite() error {
	if does := c.b.at("net.Conn.CloseWrite"); does != "" {
		return c.b.failure(does)
	}
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return syscall.ENOTSUP
	}
	return half.CloseWrite()
}

func (c *userConn) addr(site string, addr net.Addr) net.Addr {
	switch c.b.at(site) {
	case givesNil:
		return nil
	case givesTyped:
		return (*net.TCPAddr)(nil)
	}
	return &userAddr{addr, c.b}
}

func (c *userConn) LocalAddr() net.Addr  { return c.addr("net.Conn.LocalAddr", c.Conn.LocalAddr()) }
func (c *userConn) RemoteAddr() net.Addr { return c.addr("net.Conn.RemoteAddr", c.Conn.RemoteAddr()) }

func (c *userConn) SetDeadline(t time.Time) error {
	c.b.at("net.Conn.SetDeadline")
	return c.Conn.SetDeadline(t)
}

func (c *userConn) SetReadDeadline(t time.Time) error {
	if does := c.b.at("net.Conn.SetReadDeadline"); does != "" {
		return c.b.failure(does)
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *userConn) SetWriteDeadline(t time.Time) error {
	if does := c.b.at("net.Conn.SetWriteDeadline"); does != "" {
		return c.b.failure(does)
	}
	return c.Conn.SetWriteDeadline(t)
}

func (c *userConn) SetWriteBuffer(n int) error {
	return c.b.failure(c.b.at("net.Conn.SetWriteBuffer"))
}

// A userAddr is an address of the user's.
type userAddr struct {
	net.Addr
	b *bomb
}

func (a *userAddr) Network() string {
	a.b.at("net.Addr.Network")
	return a.Addr.Network()
}

func (a *userAddr) String() string {
	a.b.at("net.Addr.String")
	return a.Addr.String()
}

// A coverConn is a conn that says what is below it, as a TLS conn does.
type coverConn struct{ *userConn }

func (c coverConn) NetConn() net.Conn {
	switch c.b.at("net.Conn.NetConn") {
	case givesNil:
		return nil
	case givesTyped:
		return (*net.TCPConn)(nil)
	}
	return c.Conn
}

// A systemConn is a conn that hands out a descriptor.
type systemConn struct{ *userConn }

func (c systemConn) SyscallConn() (syscall.RawConn, error) {
	if does := c.b.at("syscall.Conn.SyscallConn"); does != "" {
		return nil, c.b.failure(does)
	}
	sc, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, syscall.ENOTSUP
	}
	return sc.SyscallConn()
}

// A sliceConn cannot be compared.
type sliceConn struct {
	net.Conn
	_ []int
}

// A framedConn says that it keeps messages apart by itself.
type framedConn struct{ *userConn }

func (c framedConn) WrapProtocol(p libnet.Protocol) libnet.Protocol {
	switch c.b.at("libnet.MessageConn.WrapProtocol") {
	case givesNil:
		return nil
	case givesTyped:
		return (*userProtocol)(nil)
	}
	return p
}

// plain is a codec that knows only io.Reader and io.Writer.
type plain struct {
	rw io.ReadWriter
	b  *bomb
}

func (c *plain) Receive() ([]byte, error) {
	if does := c.b.at("libnet.Codec.Receive"); does != "" {
		return nil, c.b.failure(does)
	}
	var header [4]byte
	if _, err := io.ReadFull(c.rw, header[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(header[:])&0xffffff)
	_, err := io.ReadFull(c.rw, body)
	return body, err
}

func (c *plain) Send(msg any) error {
	if does := c.b.at("libnet.Codec.Send"); does != "" {
		return c.b.failure(does)
	}
	_, err := c.rw.Write(appendFrame(nil, msg))
	return err
}

func (c *plain) Close() error {
	err := c.b.failure(c.b.at("libnet.Codec.Close"))
	if closer, ok := c.rw.(io.Closer); ok {
		_ = closer.Close()
	}
	return err
}

func appendFrame(dst []byte, msg any) []byte {
	body, ok := msg.([]byte)
	if !ok {
		panic(fmt.Sprintf("a message that is a %T", msg))
	}
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(body))), body...)
}

func parseFrame(src []byte) ([]byte, int) {
	if len(src) < 4 {
		return nil, 0
	}
	n := 4 + int(binary.BigEndian.Uint32(src)&0xffffff)
	if len(src) < n {
		return nil, 0
	}
	return src[4:n:n], n
}

// pure is a codec that needs no connection.
type pure struct{ plain }

func (c *pure) AppendFrame(dst []byte, msg any) ([]byte, error) {
	site := "libnet.FrameAppender.AppendFrame"
	if body, ok := msg.([]byte); ok && string(body) == toGroup {
		site += " for a broadcast"
	}
	switch does := c.b.at(site); does {
	case "":
		return appendFrame(dst, msg), nil
	case givesNil:
		return nil, nil
	case givesLess:
		return dst[:len(dst)/2], nil
	default:
		return dst, c.b.failure(does)
	}
}

func (c *pure) ParseFrame(src []byte) ([]byte, int, error) {
	payload, n := parseFrame(src)
	if n == 0 {
		return nil, 0, nil
	}
	switch does := c.b.at("libnet.FrameParser.ParseFrame"); does {
	case "":
	case givesNil:
		return nil, 0, nil
	case givesLess:
		return payload, -1, nil
	case givesMore:
		return payload, len(src) + 1, nil
	default:
		return nil, 0, c.b.failure(does)
	}
	return payload, n, nil
}

// splitting is a codec whose large messages need no copy.
type splitting struct{ pure }

func (c *splitting) SplitFrame(dst []byte, msg any) (header, payload []byte, err error) {
	body := msg.([]byte)
	switch does := c.b.at("libnet.FrameSplitter.SplitFrame"); does {
	case "":
	case givesNil:
		return nil, nil, nil
	default:
		return dst, nil, c.b.failure(does)
	}
	return binary.BigEndian.AppendUint32(dst, uint32(len(body))), body, nil
}

// A userProtocol is a protocol of the user's.
type userProtocol struct {
	b    *bomb
	kind string // of its codecs
}

func (p *userProtocol) NewCodec(rw io.ReadWriter) libnet.Codec {
	b := p.b.orInert()
	switch p.b.at("libnet.Protocol.NewCodec") {
	case givesNil:
		return nil
	case givesTyped:
		return (*splitting)(nil)
	}
	c := plain{rw, b}
	switch p.kind {
	case "plain":
		return &c
	case "pure":
		return &pure{c}
	}
	return &splitting{pure{c}}
}

// framing is the user's part of a codec.Composed.
type framing struct{ b *bomb }

func (f framing) AppendFrame(dst, payload []byte) ([]byte, error) {
	switch does := f.b.at("codec.Framing.AppendFrame"); does {
	case "":
		return appendFrame(dst, payload), nil
	case givesNil:
		return nil, nil
	case givesLess:
		return dst[:len(dst)/2], nil
	default:
		return dst, f.b.failure(does)
	}
}

func (f framing) parse(site string, src []byte) ([]byte, int, error) {
	payload, n := parseFrame(src)
	if n == 0 {
		return nil, 0, nil
	}
	switch does := f.b.at(site); does {
	case "":
	case givesNil:
		return nil, 0, nil
	case givesLess:
		return payload, -1, nil
	case givesMore:
		return payload, len(src) + 1, nil
	default:
		return nil, 0, f.b.failure(does)
	}
	return payload, n, nil
}

func (f framing) ParseFrame(src []byte) ([]byte, int, error) {
	return f.parse("codec.Framing.ParseFrame", src)
}

func (f framing) Max() int {
	switch f.b.at("codec.Framing.Max") {
	case givesLess:
		return -1
	case givesMore:
		return math.MaxInt
	}
	return 1 << 20
}

// wholeFraming is one with all that is optional.
type wholeFraming struct{ framing }

func (f wholeFraming) Room() int {
	switch f.b.at("codec.Sealer.Room") {
	case givesLess:
		return -1
	case givesMore:
		return 1 << 40
	}
	return 4
}

func (f wholeFraming) SealFrame(dst []byte, start int) ([]byte, error) {
	switch does := f.b.at("codec.Sealer.SealFrame"); does {
	case "":
	case givesNil:
		return nil, nil
	case givesLess:
		return dst[:start/2], nil
	default:
		return dst, f.b.failure(does)
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst, nil
}

func (f wholeFraming) ParseFrameMax(src []byte, limit int) ([]byte, int, error) {
	return f.parse("codec.Limiter.ParseFrameMax", src)
}

type marshaler struct{ b *bomb }

func (m marshaler) AppendMarshal(dst []byte, msg any) ([]byte, error) {
	switch does := m.b.at("codec.Marshaler.AppendMarshal"); does {
	case "":
		return append(dst, msg.([]byte)...), nil
	case givesNil:
		return nil, nil
	case givesLess:
		return dst[:len(dst)/2], nil
	default:
		return dst, m.b.failure(does)
	}
}

func protocolOf(kind string, b *bomb) libnet.Protocol {
	switch kind {
	case "composed":
		return codec.New(framing{b}, marshaler{b})
	case "whole":
		return codec.New(wholeFraming{framing{b}}, marshaler{b})
	case "func":
		return libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
			return (&userProtocol{b, "pure"}).NewCodec(rw)
		})
	}
	return &userProtocol{b, kind}
}

// logs is a log handler of the user's.
type logs struct{ b *bomb }

func (l logs) Enabled(context.Context, slog.Level) bool {
	l.b.at("slog.Handler.Enabled")
	return true
}

func (l logs) Handle(context.Context, slog.Record) error {
	return l.b.failure(l.b.at("slog.Handler.Handle"))
}

func (l logs) WithAttrs([]slog.Attr) slog.Handler {
	l.b.at("slog.Handler.WithAttrs")
	return l
}

func (l logs) WithGroup(string) slog.Handler {
	l.b.at("slog.Handler.WithGroup")
	return l
}
