package resume

import "testing"

// A session is found by a part of its token's hash, and given to nobody who has only that.
func TestATokenWhoseHashAgreesInPartOnlyFindsNoSession(t *testing.T) {
	srv := &Server{MessageHandler: func(*Session, []byte) {}}
	first := srv.newLocked()
	wantFoundByItsTokenAlone(t, srv, first.session, first.token)

	resumed, why := srv.claim(hello{resumes: true, token: first.token, number: 1})
	if why != 0 {
		t.Fatal("refused:", why)
	}
	wantFoundByItsTokenAlone(t, srv, first.session, first.token) // until the new one has arrived
	wantFoundByItsTokenAlone(t, srv, first.session, resumed.token)

	srv.confirmed(first.session, resumed.link)
	if srv.findLocked(first.token.hash()) != nil {
		t.Error("the token before is valid still")
	}
	wantFoundByItsTokenAlone(t, srv, first.session, resumed.token)
	if n := len(srv.sessions); n != 1 {
		t.Errorf("%d keys for one token", n)
	}
}

func wantFoundByItsTokenAlone(t *testing.T, srv *Server, s *Session, of token) {
	t.Helper()
	hash := of.hash()
	if srv.findLocked(hash) != s {
		t.Error("the session is not found by its token")
	}
	for i := range hash {
		other := hash
		other[i] ^= 1
		if srv.findLocked(other) != nil {
			t.Errorf("a hash that differs in byte %d finds a session", i)
		}
	}
}
