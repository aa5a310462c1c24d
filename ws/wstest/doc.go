// Package wstest has clients that others wrote talk to ws.Protocol: a browser, npm's ws, and OpenSSL's s_client; and it
// has browsers talk on the page of examples/chat. It needs what .ci/run installs, and npm ci in this folder.
package wstest
