module github.com/libnet-go/libnet/monitor/monitortest

go 1.26.0

require github.com/libnet-go/libnet v0.0.0

require (
	github.com/chromedp/cdproto v0.159.0 // indirect
	github.com/chromedp/chromedp v0.23.0 // indirect
	github.com/go-json-experiment/json v0.0.0-20260213210345-44df1a37e875 // indirect
	github.com/prometheus/client_golang v1.25.0 // indirect
)

replace github.com/libnet-go/libnet => ../../
