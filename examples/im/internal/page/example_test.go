package page_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/libnet-go/libnet/examples/im/internal/page"
)

func ExampleHandler() {
	site := httptest.NewServer(page.Handler(page.Options{
		Pick: func(context.Context) (string, error) { return "ws://127.0.0.1:7001/ws", nil },
	}))
	defer site.Close()

	response, err := http.Post(site.URL+"/pick", "application/json", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	fmt.Print(string(body))
	// Output: {"url":"ws://127.0.0.1:7001/ws"}
}
