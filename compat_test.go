package libnet_test

import (
	"fmt"
	"io"
	"math/rand"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
)

// The seed's calls, assigned to variables of exactly the types that they had there: a variadic
// parameter or another result would break programs that do this.
var (
	_ func(network, address string, protocol libnet.Protocol, sendChanSize int) (*libnet.Server, error)                         = libnet.Serve
	_ func(network, address string, protocol libnet.Protocol, sendChanSize int) (*libnet.Session, error)                        = libnet.Connect
	_ func(network, address string, timeout time.Duration, protocol libnet.Protocol, sendChanSize int) (*libnet.Session, error) = libnet.ConnectTimeout
	_ func(l net.Listener, protocol libnet.Protocol, sendChanSize int) *libnet.Server                                           = libnet.NewServer
	_ func(codec libnet.Codec, sendChanSize int) *libnet.Session                                                                = libnet.NewSession
	_ func() *libnet.Manager                                                                                                    = libnet.NewManager
	_ func() *codec.ProtobufProtocol                                                                                            = codec.Protobuf

	_ func(*libnet.Server) net.Listener             = (*libnet.Server).Listener
	_ func(*libnet.Server) (*libnet.Session, error) = (*libnet.Server).Accept
	_ func(*libnet.Server)                          = (*libnet.Server).Stop

	_ func(*libnet.Session) uint64             = (*libnet.Session).ID
	_ func(*libnet.Session) libnet.Codec       = (*libnet.Session).Codec
	_ func(*libnet.Session) bool               = (*libnet.Session).IsClosed
	_ func(*libnet.Session) ([]byte, error)    = (*libnet.Session).Receive
	_ func(*libnet.Session, interface{}) error = (*libnet.Session).Send
	_ func(*libnet.Session) error              = (*libnet.Session).Close
	_ interface{}                              = libnet.Session{}.State

	_ func(*libnet.Manager, libnet.Codec, int) *libnet.Session = (*libnet.Manager).NewSession
	_ func(*libnet.Manager, uint64) *libnet.Session            = (*libnet.Manager).GetSession
	_ func(*libnet.Manager)                                    = (*libnet.Manager).Dispose

	_ libnet.Protocol = libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec { return nil })
	_ libnet.Protocol = (*codec.ProtobufProtocol)(nil)
)

func TestTheDeprecatedErrorsAreTheSameValues(t *testing.T) {
	if libnet.SessionClosedError != libnet.ErrSessionClosed || libnet.SessionBlockedError != libnet.ErrSessionBlocked {
		t.Error("a deprecated name has another value than the new one")
	}
}

// What follows, down to the test, is the article's gateway: its loops and its reply, with nothing changed
// but where the packages come from, and two returns so that it can end. Its messages are in the style that
// protoc-gen-go wrote in 2017, without the embedded descriptors.

type Base struct {
	Cmd uint32 `protobuf:"varint,1,opt,name=cmd,proto3" json:"cmd,omitempty"`
}

func (m *Base) Reset()         { *m = Base{} }
func (m *Base) String() string { return fmt.Sprint(m.Cmd) }
func (*Base) ProtoMessage()    {}

type ResSelectAccessServerForClient struct {
	Cmd     uint32 `protobuf:"varint,1,opt,name=cmd,proto3" json:"cmd,omitempty"`
	ErrCode uint32 `protobuf:"varint,2,opt,name=errCode,proto3" json:"errCode,omitempty"`
	ErrStr  string `protobuf:"bytes,3,opt,name=errStr,proto3" json:"errStr,omitempty"`
	Addr    string `protobuf:"bytes,4,opt,name=addr,proto3" json:"addr,omitempty"`
}

func (m *ResSelectAccessServerForClient) Reset()         { *m = ResSelectAccessServerForClient{} }
func (m *ResSelectAccessServerForClient) String() string { return m.Addr }
func (*ResSelectAccessServerForClient) ProtoMessage()    {}

type Error struct {
	Cmd     uint32 `protobuf:"varint,1,opt,name=cmd,proto3" json:"cmd,omitempty"`
	ErrCode uint32 `protobuf:"varint,2,opt,name=errCode,proto3" json:"errCode,omitempty"`
	ErrStr  string `protobuf:"bytes,3,opt,name=errStr,proto3" json:"errStr,omitempty"`
}

func (m *Error) Reset()         { *m = Error{} }
func (m *Error) String() string { return m.ErrStr }
func (*Error) ProtoMessage()    {}

const (
	reqAccessServerCMD = 1
	errServerCMD       = 2
)

// unmarshal is what proto.Unmarshal of github.com/golang/protobuf does.
func unmarshal(b []byte, m protoadapt.MessageV1) error {
	return proto.Unmarshal(b, protoadapt.MessageV2Of(m))
}

type gatewayServer struct {
	Server *libnet.Server
	glog   testLog
	ended  sync.WaitGroup
}

type gatewayClient struct {
	Session *libnet.Session
	glog    testLog
}

type testLog struct{ testing.TB }

func (l testLog) Error(args ...any) { l.Log(args...) }

func (s *gatewayServer) sessionLoop(client *gatewayClient) {
	defer s.ended.Done()
	for {
		reqData, err := client.Session.Receive()
		if err != nil {
			s.glog.Error(err)
			return // the article goes on, and spins (docs/faults.md, G1)
		}
		if reqData != nil {
			baseCMD := &Base{}
			if err = unmarshal(reqData, baseCMD); err != nil {
				if err = client.Session.Send(&Error{
					Cmd:     errServerCMD,
					ErrCode: 500,
					ErrStr:  "server error",
				}); err != nil {
					s.glog.Error(err)
				}
				continue
			}
			if err = client.Parse(baseCMD.Cmd, reqData); err != nil {
				s.glog.Error(err)
				continue
			}
		}
	}
}

func (s *gatewayServer) Loop() {
	for {
		session, err := s.Server.Accept()
		if err != nil {
			s.glog.Error(err)
			return // the article goes on with a nil session, and crashes (docs/faults.md, G2)
		}
		s.ended.Add(1)
		go s.sessionLoop(&gatewayClient{session, s.glog})
	}
}

var accessServerList = []string{"10.0.0.1:8000", "10.0.0.1:8000"}

func (c *gatewayClient) Parse(cmd uint32, reqData []byte) (err error) {
	if cmd != reqAccessServerCMD {
		return fmt.Errorf("unknown command %d", cmd)
	}
	return c.procReqAccessServer(reqData)
}

func (c *gatewayClient) procReqAccessServer(reqData []byte) (err error) {
	addr := accessServerList[rand.Intn(len(accessServerList))]
	if err = c.Session.Send(&ResSelectAccessServerForClient{
		Cmd:     reqAccessServerCMD,
		ErrCode: 200,
		ErrStr:  "OK",
		Addr:    addr,
	}); err != nil {
		c.glog.Error(err)
	}
	return
}

func TestTheArticlesGatewayRunsUnchanged(t *testing.T) {
	var err error
	gwServer := &gatewayServer{glog: testLog{t}}
	protobuf := codec.Protobuf()
	if gwServer.Server, err = libnet.Serve("tcp", "127.0.0.1:0", protobuf, 0); err != nil {
		t.Fatal(err)
	}
	looped := make(chan struct{})
	go func() {
		defer close(looped)
		gwServer.Loop()
	}()

	address := gwServer.Server.Listener().Addr().String()
	session, err := libnet.ConnectTimeout("tcp", address, time.Second, protobuf, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Send(&Base{Cmd: reqAccessServerCMD}); err != nil {
		t.Fatal(err)
	}
	var reply ResSelectAccessServerForClient
	receiveMessage(t, session, &reply)
	if reply.ErrCode != 200 || reply.Addr != accessServerList[0] {
		t.Errorf("the gateway answered %+v", reply)
	}

	// A request that is no protobuf: field number 0 does not exist.
	raw, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	testkit.MustWrite(t, raw, []byte{0, 2, 0, 0})
	payload, err := protobuf.NewCodec(raw).Receive()
	var refusal Error
	if err == nil {
		err = unmarshal(payload, &refusal)
	}
	if err != nil || refusal.Cmd != errServerCMD {
		t.Errorf("the gateway answered %+v, %v", refusal, err)
	}

	if err := session.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	if err := session.Close(); err != libnet.SessionClosedError {
		t.Errorf("a second Close = %v", err)
	}
	gwServer.Server.Stop()
	testkit.Await(t, testkit.Patience, "Accept after Stop", looped)
	gwServer.ended.Wait()
	if _, err := gwServer.Server.Accept(); err != io.EOF {
		t.Errorf("Accept after Stop = %v; want io.EOF", err)
	}
}

func receiveMessage(t testing.TB, session *libnet.Session, m protoadapt.MessageV1) {
	t.Helper()
	payload, err := session.Receive()
	if err == nil {
		err = unmarshal(payload, m)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// In the seed every session was one of these: the codec made over the conn, and handed to NewSession.
func TestASessionOfABareCodecWorksAsInTheSeed(t *testing.T) {
	manager := libnet.NewManager()
	makers := map[string]func(libnet.Codec, int) *libnet.Session{
		"NewSession":         libnet.NewSession,
		"Manager.NewSession": manager.NewSession,
	}
	for name, newSession := range makers {
		for _, sendChanSize := range []int{0, 64} {
			t.Run(fmt.Sprintf("%s %d", name, sendChanSize), func(t *testing.T) {
				testkit.OverTransports(t, func(t *testing.T, connect testkit.Connector) {
					near, far := connect(t)
					bareEcho(t, newSession(codec.Protobuf().NewCodec(near), sendChanSize), far)
				})
			})
		}
	}
	if n := manager.Len(); n != 0 {
		t.Errorf("the manager still holds %d sessions", n)
	}
}

func bareEcho(t *testing.T, s *libnet.Session, far net.Conn) {
	peer := codec.Protobuf().NewCodec(far)
	echoed := make(chan error, 1)
	go func() {
		defer peer.Close()
		for range 20 {
			payload, err := peer.Receive()
			base := &Base{}
			if err == nil {
				err = unmarshal(payload, base)
			}
			if err == nil {
				err = peer.Send(base)
			}
			if err != nil {
				echoed <- err
				return
			}
		}
		echoed <- nil
	}()
	for i := range 20 {
		testkit.MustSend(t, s, &Base{Cmd: uint32(i + 1)})
		var got Base
		receiveMessage(t, s, &got)
		if got.Cmd != uint32(i+1) {
			t.Fatalf("received %d, sent %d", got.Cmd, i+1)
		}
	}
	if err := testkit.Await(t, testkit.Patience, "the peer", echoed); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Receive(); err != io.EOF {
		t.Errorf("Receive after the peer's end = %v; want io.EOF", err)
	}
	if !s.IsClosed() || s.Err() != io.EOF || s.RemoteAddr() != nil {
		t.Errorf("after the peer's end: closed %v, Err %v, RemoteAddr %v", s.IsClosed(), s.Err(), s.RemoteAddr())
	}
}
