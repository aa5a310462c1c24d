package repocheck

import (
	"go/ast"
	"go/parser"
	"strings"
	"testing"
)

// An error of a user's may wrap itself, and package errors then looks through its chain for ever: errchain does not.
// These files do without, and say why.
var walkChains = map[string]string{
	"errors.go":           "unwraps one of fmt.Errorf's, and nothing else",
	"libnettest/fault.go": "unwraps in a bounded number of steps",
	"monitor/outside.go":  "asks an error of its own",
}

func TestNoErrorIsLookedThroughWithoutABound(t *testing.T) {
	met := make(map[string]bool)
	sources(t, parser.SkipObjectResolution, func(file string, parsed *ast.File) {
		if strings.HasPrefix(file, "examples/") || strings.HasPrefix(file, "internal/testkit/") {
			return
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			call, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, ok := call.X.(*ast.Ident)
			if !ok || pkg.Name != "errors" {
				return true
			}
			switch call.Sel.Name {
			case "Is", "As", "AsType", "Unwrap":
				if met[file] = true; walkChains[file] == "" {
					t.Errorf("%s calls errors.%s: use internal/errchain", file, call.Sel.Name)
				}
			}
			return true
		})
	})
	for file := range walkChains {
		if !met[file] {
			t.Errorf("%s is in this test's list, and calls nothing of package errors", file)
		}
	}
}
