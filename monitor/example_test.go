package monitor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/monitor"
)

// exampleServer has one session, of which it has received a message.
func exampleServer() *libnet.Server {
	protocol := codec.New(codec.Uint16BE, codec.Bytes)
	server, err := libnet.Serve("tcp", "127.0.0.1:0", protocol, 16)
	if err != nil {
		panic(err)
	}
	client, err := libnet.Connect("tcp", server.Listener().Addr().String(), protocol, 16)
	if err != nil {
		panic(err)
	}
	session, err := server.Accept()
	if err != nil {
		panic(err)
	}
	if err := client.Send("hello"); err != nil {
		panic(err)
	}
	if _, err := session.Receive(); err != nil {
		panic(err)
	}
	if err := client.Close(); err != nil {
		panic(err)
	}
	_, err = session.Receive() // the client's end
	fmt.Println("the session ended:", libnet.CloseReason(err))
	return server
}

func body(response *http.Response, err error) string {
	if err != nil {
		panic(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func ExampleListenAndServe() {
	server := exampleServer()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- monitor.ListenAndServe(ctx, "127.0.0.1:0", server) }() // 7001, say, in a program

	server.Stop()
	cancel() // after the server's end, for /readyz to have told of it
	fmt.Println(<-ended)
	// Output:
	// the session ended: eof
	// <nil>
}

func ExampleHandler() {
	server := exampleServer()
	defer server.Stop()
	mux := http.NewServeMux()
	mux.Handle("/monitor/", http.StripPrefix("/monitor", monitor.Handler(server, monitor.Options{})))
	web := httptest.NewServer(mux)
	defer web.Close()

	var v monitor.Varz
	if err := json.Unmarshal([]byte(body(http.Get(web.URL+"/monitor/varz"))), &v); err != nil {
		panic(err)
	}
	fmt.Println(v.Accepted, "accepted,", v.Open, "open,", v.MessagesIn, "messages in; closed:", v.Closed)
	// Output:
	// the session ended: eof
	// 1 accepted, 0 open, 1 messages in; closed: map[eof:1]
}

func ExampleOptions_Listen() {
	server := exampleServer()
	defer server.Stop()
	o := monitor.Options{RemoteAddrs: true}
	l, err := o.Listen("127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- o.Serve(ctx, l, server) }()

	fmt.Print(body(http.Get("http://" + l.Addr().String() + "/readyz")))
	cancel()
	fmt.Println(<-ended)
	// Output:
	// the session ended: eof
	// ready
	// <nil>
}

func ExampleOptions_Serve() {
	server := exampleServer()
	defer server.Stop()
	l, err := net.Listen("unix", filepath.Join(os.TempDir(), fmt.Sprintf("monitor-%d", os.Getpid())))
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- monitor.Options{}.Serve(ctx, l, server) }()

	client := http.Client{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", l.Addr().String()) },
	}}
	fmt.Print(body(client.Get("http://localhost/readyz")))
	client.CloseIdleConnections()
	cancel()
	fmt.Println(<-ended)
	// Output:
	// the session ended: eof
	// ready
	// <nil>
}

func ExampleOptions_ListenAndServe() {
	server := exampleServer()
	defer server.Stop()
	err := monitor.ListenAndServe(context.Background(), ":7001", server)
	fmt.Println(err)

	o := monitor.Options{
		Authorize: monitor.BasicAuth("ops", "a long password"),
		Hosts:     []string{"monitor.internal"},
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // at once: the example is only to show that it may listen
	fmt.Println(o.ListenAndServe(ctx, ":0", server))
	// Output:
	// the session ended: eof
	// libnet: monitor: :7001 is not loopback, so others could reach it: use a loopback address, or set Options.Authorize
	// <nil>
}

func ExampleBasicAuth() {
	server := exampleServer()
	defer server.Stop()
	web := httptest.NewServer(monitor.Handler(server, monitor.Options{Authorize: monitor.BasicAuth("ops", "secret")}))
	defer web.Close()

	fmt.Print(body(http.Get(web.URL + "/varz")))
	request, err := http.NewRequest(http.MethodGet, web.URL+"/connz?state=closed&limit=1", nil)
	if err != nil {
		panic(err)
	}
	request.SetBasicAuth("ops", "secret")
	var c monitor.Connz
	if err := json.Unmarshal([]byte(body(http.DefaultClient.Do(request))), &c); err != nil {
		panic(err)
	}
	fmt.Println(c.Total, "closed, the last because of", c.Sessions[0].Reason)
	// Output:
	// the session ended: eof
	// Who are you?
	// 1 closed, the last because of eof
}

func ExampleOptions() {
	server := exampleServer()
	defer server.Stop()
	var users libnet.Group[string]
	web := httptest.NewServer(monitor.Handler(server, monitor.Options{
		Name:   "front",
		Groups: map[string]func() int{"users": users.Len},
		Gauges: []monitor.Gauge{{Name: "app_jobs", Help: "Jobs to do.", Value: func() float64 { return 3 }}},
	}))
	defer web.Close()
	for line := range strings.Lines(body(http.Get(web.URL + "/metrics"))) {
		if strings.HasPrefix(line, "libnet_group") || strings.HasPrefix(line, "libnet_sessions_accepted") || strings.HasPrefix(line, "app") {
			fmt.Print(line)
		}
	}
	// Output:
	// the session ended: eof
	// libnet_sessions_accepted_total{server="front"} 1
	// libnet_group_members{server="front",group="users"} 0
	// app_jobs 3
}
