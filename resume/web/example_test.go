package web_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/libnet-go/libnet/resume/web"
)

// The script lies beside the page that imports it.
func ExampleHandler() {
	pages := http.NewServeMux()
	pages.Handle("GET /resume.js", web.Handler())
	site := httptest.NewServer(pages)
	defer site.Close()

	answer, err := http.Get(site.URL + "/resume.js")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer answer.Body.Close()
	script, err := io.ReadAll(answer.Body)
	fmt.Println(strings.Contains(string(script), "export function connect"), err)
	// Output: true <nil>
}
