package token_test

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/token"
)

var noon = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

func newTokens(t testing.TB, key, salt string, now time.Time) *token.Tokens {
	t.Helper()
	tokens, err := token.New([]byte(key), salt)
	if err != nil {
		t.Fatal(err)
	}
	return tokens.At(func() time.Time { return now })
}

const key = "0123456789abcdef"

func legacy(user int64, salt string) string {
	sum := md5.Sum(fmt.Append(nil, user, salt))
	return hex.EncodeToString(sum[:])
}

func TestATokenIsGoodForItsUserUntilItEnds(t *testing.T) {
	good := newTokens(t, key, "", noon).Issue(7, time.Hour)
	for _, test := range []struct {
		name  string
		at    time.Time
		user  int64
		token string
		want  error
	}{
		{"at once", noon, 7, good, nil},
		{"in its last second", noon.Add(time.Hour - time.Nanosecond), 7, good, nil},
		{"when it has ended, by another clock", noon.Add(time.Hour + token.Skew - time.Nanosecond), 7, good, nil},
		{"when it has ended", noon.Add(time.Hour + token.Skew), 7, good, token.ErrWrong},
		{"a user below 0", noon, -7, good, token.ErrMissing},
		{"another user", noon, 8, good, token.ErrWrong},
		{"a user whose id begins so", noon, 70, good, token.ErrWrong},
		{"no token", noon, 7, "", token.ErrMissing},
		{"noise", noon, 7, "noise", token.ErrWrong},
		{"dots", noon, 7, "...", token.ErrWrong},
		{"a longer life", noon, 7, strings.Replace(good, ".189", ".199", 1), token.ErrWrong},
		{"a byte too few", noon, 7, good[:len(good)-1], token.ErrWrong},
		{"a byte too many", noon, 7, good + "A", token.ErrWrong},
		{"a megabyte", noon, 7, strings.Repeat("7.", 1<<19), token.ErrWrong},
		{"no user", noon, 0, newTokens(t, key, "", noon).Issue(0, time.Hour), token.ErrWrong},
		{"another key's", noon, 7, newTokens(t, "fedcba9876543210", "", noon).Issue(7, time.Hour), token.ErrWrong},
	} {
		left, err := newTokens(t, key, "", test.at).Check(test.user, test.token)
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		if want := noon.Add(time.Hour + token.Skew).Sub(test.at); err == nil && left != want {
			t.Errorf("%s: good for %v, want %v", test.name, left, want)
		}
	}
}

func TestLegacyTokenIsAcceptedOnlyWithASalt(t *testing.T) {
	old := legacy(7, "salt")
	if old != "845e33d9953f736be227314bfdefb817" { // what md5sum says of "7salt"
		t.Fatalf("the test's own token is %q", old)
	}
	if _, err := newTokens(t, key, "", noon).Check(7, old); !errors.Is(err, token.ErrWrong) {
		t.Errorf("without a salt: %v", err)
	}
	if _, err := newTokens(t, key, "", noon).Check(7, legacy(7, "")); !errors.Is(err, token.ErrWrong) {
		t.Errorf("without a salt, made with none: %v", err)
	}
	with := newTokens(t, key, "salt", noon)
	for user, want := range map[int64]error{7: nil, 8: token.ErrWrong, -7: token.ErrMissing} {
		if _, err := with.Check(user, old); !errors.Is(err, want) {
			t.Errorf("user %d: %v, want %v", user, err, want)
		}
	}
	if _, err := with.Check(7, with.Issue(7, time.Hour)); err != nil {
		t.Errorf("the usual token beside it: %v", err)
	}
	if _, err := with.Check(7, old[:31]); !errors.Is(err, token.ErrWrong) {
		t.Errorf("half a byte missing: %v", err)
	}
}

func TestAShortKeyIsRefused(t *testing.T) {
	if _, err := token.New(make([]byte, token.MinKey-1), ""); err == nil {
		t.Error("a key anybody can guess was taken")
	}
	if a, b := token.NewKey(), token.NewKey(); len(a) < token.MinKey || string(a) == string(b) {
		t.Error("NewKey is short or not random")
	}
}

func FuzzCheckRefusesWhatItDidNotIssue(f *testing.F) {
	tokens, err := token.New([]byte(key), "salt")
	if err != nil {
		f.Fatal(err)
	}
	tokens = tokens.At(func() time.Time { return noon })
	good := tokens.Issue(7, time.Hour)
	old := legacy(7, "salt")
	f.Add(good)
	f.Add(old)
	f.Add("7.1893502800.")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		_, err := tokens.Check(7, s)
		accepted := err == nil
		if ours := s == good || strings.EqualFold(s, old); accepted != ours {
			t.Errorf("%q accepted: %v", s, accepted)
		}
	})
}

func Example() {
	tokens, err := token.New(token.NewKey(), "")
	if err != nil {
		fmt.Println(err)
		return
	}
	mine := tokens.Issue(4711, time.Hour)
	left, err := tokens.Check(4711, mine)
	fmt.Println(left > time.Hour-time.Minute, err)
	_, err = tokens.Check(4712, mine)
	fmt.Println(errors.Is(err, token.ErrWrong))
	// Output:
	// true <nil>
	// true
}
