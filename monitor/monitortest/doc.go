// Package monitortest looks at the monitor's page with a browser and at its metrics with Prometheus' linter.
package monitortest
