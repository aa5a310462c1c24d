package web_test

import (
	"net/http/httptest"
	"testing"

	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/resume/web"
)

func TestMain(m *testing.M) { libnettest.VerifyMain(m) }

func TestTheScriptIsAtMostSixKilobytesAsItIsWrittenAndServedAsOne(t *testing.T) {
	if len(web.JS) > 6<<10 {
		t.Errorf("%d bytes", len(web.JS))
	}
	answer := httptest.NewRecorder()
	web.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/resume.js", nil))
	if body := answer.Body.String(); body != web.JS || answer.Header().Get("Content-Type") != "text/javascript; charset=utf-8" {
		t.Errorf("%v, %d bytes", answer.Header(), len(body))
	}
}
