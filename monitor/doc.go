// Package monitor shows what a server is doing: a page for people, JSON and metrics for programs.
//
//	server, err := libnet.Serve("tcp", ":7000", protocol, 128)
//	...
//	go func() { log.Print(monitor.ListenAndServe(ctx, "127.0.0.1:7001", server)) }()
//
// The paths:
//
//	/          the page: numbers, charts, the busiest sessions, the last that closed, and why
//	/varz      the server's numbers as JSON: see Varz
//	/connz     its sessions as JSON: see Connz; ?sort= ?limit= ?offset= ?state= ?find=
//	/resumez   the sessions of package resume as JSON, with Options.Resume: see Resumez; ?state= ?limit=
//	/metrics   Prometheus' text format, 0.0.4
//	/healthz   200 for as long as the process answers
//	/readyz    200, and 503 while Options.Ready says so and from the moment that Stop or Shutdown begins
//	/close     POST, with Options.Authorize only: closes the session whose number is the form's value id
//
// The page is all in the binary and asks nobody else for anything. Without JavaScript it is the same page,
// loaded again every few seconds. Its order and what it searches for are in its address, ?sort= and ?find=.
//
// What the program adds: the names of sessions (libnet's Session.SetName), Options.Groups and Options.Gauges; and
// Options.Name where there are several servers, of which Options.Others are in the same /metrics. Alert rules for
// Prometheus and a dashboard for Grafana are in the folder dashboards.
//
// # Who sees it
//
// Only this machine, unless told otherwise. A request that came in at an address which is not loopback is
// refused unless Options.Authorize lets it pass, and [ListenAndServe] does not even listen there without
// one. From another machine: ssh -L 7001:127.0.0.1:7001 server.
//
// A request must name the monitor by a loopback name or address and its port, by the address that it came
// in at, or by one of Options.Hosts. The port may be left out where it is the scheme's own, 80 or 443, and
// a request of HTTP/1.0 need not name a host at all. A page of somebody else's, whose name is made to point here
// (DNS rebinding), names itself and is refused. X-Forwarded-Host and the like are not looked at: a proxy
// passes the Host on, and Options.Hosts has it. Pages of other origins may link here and nothing else: there is no
// CORS, and browsers say who asks. The page's own Content-Security-Policy forbids scripts in the text, other
// origins and frames. Everything is GET or HEAD but the closing of a session, which takes a POST from the same
// origin.
//
// What peers send is never shown, unless the program makes a session's name of it: that is shown on one line, with
// escapes, and is 128 bytes at most. Neither are their addresses, unless Options.RemoteAddrs asks for them, nor the
// text of an error, which may quote both, unless Options.ErrorTexts does: without it, a session's number finds the line
// in the log that has it.
//
// # What it costs
//
// A look at the server takes no lock that a shard of its manager has, and each session's own for the time of
// copying nine numbers. Once a second, or a hundred times as long as a look takes if that is longer, the
// monitor keeps one for the charts, which go five minutes back: under [ListenAndServe] always, else when
// somebody asks. It keeps some forty bytes a session, to tell which are busy now. The
// sessions that are shown, 15 on the page and 1000 of /connz at most, are asked for their connection after that, with a
// system call each; a search by address asks all of them for theirs.
//
// # What the program's own code can do to it
//
// The options, and the methods of addresses and errors that the monitor shows, run on goroutines of their own. One that
// panics is logged with its stack, to the server's Logger, and one that does not return is not waited for: 10 s for
// Options.Authorize and Options.Ready, which then count as no, with status 503; 10 s for the callbacks of a session
// that is closed from here; 1 s for addresses, groups and gauges, which are then left out. Once 64 of such calls hang,
// no other is begun until one returns; nor is a group or gauge asked again whose last call hangs. The logger, too, has
// 64 calls at work at most. Addresses are shown up to 256 bytes, and what a request says is quoted up to 100.
//
// It is plain net/http and depends on nothing but the standard library: Prometheus' own package for /metrics
// would bring nine modules to every user of libnet, whether they want a monitor or not.
package monitor
