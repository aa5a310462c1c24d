package monitor_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/monitor"
)

var (
	sameOrigin = withHeader("Sec-Fetch-Site", "same-origin")
	ownOrigin  = withHeader("Origin", "http://127.0.0.1:7001")
)

func TestASessionIsClosedByAPostOfThePagesOwnOnly(t *testing.T) {
	srv := newServer(t)
	s, _ := adopt(t, srv)
	authorized := monitor.Handler(srv, monitor.Options{Authorize: monitor.BasicAuth("ops", "secret")})
	anonymous := monitor.Handler(srv, monitor.Options{})
	form := withForm(fmt.Sprintf("id=%d", s.ID()))
	login := func(r *http.Request) { r.SetBasicAuth("ops", "secret") }
	close := func(change ...func(*http.Request)) *http.Request { return request("POST", "/close", change...) }
	query := fmt.Sprintf("/close?id=%d", s.ID())

	for name, test := range map[string]struct {
		h    http.Handler
		r    *http.Request
		want int
	}{
		"a GET":                    {authorized, request("GET", query, login, sameOrigin), http.StatusMethodNotAllowed},
		"a HEAD":                   {authorized, request("HEAD", query, login, sameOrigin), http.StatusMethodNotAllowed},
		"a PUT":                    {authorized, request("PUT", query, login, sameOrigin), http.StatusMethodNotAllowed},
		"no authoriser":            {anonymous, close(form, login, sameOrigin), http.StatusForbidden},
		"no password":              {authorized, close(form, sameOrigin), http.StatusUnauthorized},
		"no word about the origin": {authorized, close(form, login), http.StatusForbidden},
		"another site":             {authorized, close(form, login, ownOrigin, withHeader("Sec-Fetch-Site", "cross-site")), http.StatusForbidden},
		"another port":             {authorized, close(form, login, ownOrigin, withHeader("Sec-Fetch-Site", "same-site")), http.StatusForbidden},
		"an address typed":         {authorized, close(form, login, ownOrigin, withHeader("Sec-Fetch-Site", "none")), http.StatusForbidden},
		"another origin":           {authorized, close(form, login, withHeader("Origin", "http://127.0.0.1:7002")), http.StatusForbidden},
		"a hidden origin":          {authorized, close(form, login, withHeader("Origin", "null")), http.StatusForbidden},
		"a foreign host":           {authorized, close(form, login, sameOrigin, withHost("evil.example")), http.StatusForbidden},
		"the id in the query only": {authorized, request("POST", query, login, sameOrigin), http.StatusBadRequest},
		"no number":                {authorized, close(withForm("id=all"), login, sameOrigin), http.StatusBadRequest},
		"too long a form":          {authorized, close(withForm(strings.Repeat("a=b&", 1000)+fmt.Sprintf("id=%d", s.ID())), login, sameOrigin), http.StatusBadRequest},
		"no such session":          {authorized, close(withForm("id=999999999"), login, sameOrigin), http.StatusNotFound},
	} {
		if w := serve(test.h, test.r); w.Code != test.want {
			t.Errorf("%s: %d %q; want %d", name, w.Code, w.Body, test.want)
		}
		if s.IsClosed() {
			t.Fatalf("%s closed the session", name)
		}
	}

	w := serve(authorized, close(withForm(fmt.Sprintf("id=%d&sort=bytes_in", s.ID())), login, sameOrigin))
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "./?sort=bytes_in#sessions" {
		t.Errorf("closing: %d, Location %q", w.Code, w.Header().Get("Location"))
	}
	if err := s.Err(); libnet.CloseReason(err) != "closed" {
		t.Errorf("the session ended with: %v", err)
	}
	if w := serve(authorized, close(form, login, sameOrigin)); w.Code != http.StatusNotFound {
		t.Errorf("closing once more: %d", w.Code)
	}
	s, _ = adopt(t, srv)
	if w := serve(authorized, close(withForm(fmt.Sprintf("id=%d", s.ID())), login, ownOrigin)); w.Code != http.StatusSeeOther || !s.IsClosed() {
		t.Errorf("closing by a browser without Sec-Fetch-Site: %d", w.Code)
	}
}

func TestThePageOffersToCloseSessionsOnlyWhereItCan(t *testing.T) {
	srv := newServer(t)
	adopt(t, srv)
	if page := get(t, monitor.Handler(srv, monitor.Options{}), "/"); strings.Contains(page, `method="post"`) {
		t.Error("a page without an authoriser has a form that posts")
	}
	if page := get(t, monitor.Handler(srv, monitor.Options{Authorize: anybody}), "/"); !strings.Contains(page, `<form method="post" action="close">`) {
		t.Error("a page with an authoriser has no form")
	}
}
