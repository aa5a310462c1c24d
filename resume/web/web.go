// Package web has the browser's end of package resume's sessions: a script, which a program serves beside its page.
//
//	http.Handle("GET /resume.js", web.Handler())
//
// In the page:
//
//	import { connect } from "/resume.js";
//
//	const session = connect("wss://example.com/ws", {
//		onmessage: (bytes) => show(new TextDecoder().decode(bytes)),
//		onstate: (state) => { … }, // "connected", "detached", "closed"
//	});
//	session.send("hello"); // a string or a Uint8Array; goes out now, or with the next connection
//	const end = await session.ended; // end.message is why, end.unacknowledged what that cost
//
// The server's end is a [resume.Server] behind ws.MessageHandler or ws.Handler, without the option Text. The page and
// it keep to what docs/resume.md says: a message is acknowledged when onmessage has returned, what was not acknowledged
// is sent again over the next connection, and when a session cannot be kept both ends are told how much was not.
// resume.d.ts types it; there is no build step.
package web

import (
	_ "embed"
	"net/http"
	"strings"
	"time"
)

// JS is resume.js, and Types is resume.d.ts, its types for TypeScript.
var (
	//go:embed resume.js
	JS string

	//go:embed resume.d.ts
	Types string
)

// Handler serves JS, for one path.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
		http.ServeContent(w, r, "resume.js", time.Time{}, strings.NewReader(JS))
	})
}
