package repocheck

import (
	"go/ast"
	"path"
	"strconv"
	"strings"
	"testing"
)

// logLinesOf returns the texts of the lines that a file has a log write.
func logLinesOf(file *ast.File) (lines []string) {
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		method, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || method.Sel.Name != "write" && method.Sel.Name != "writeAllowed" {
			return true
		}
		for _, arg := range call.Args {
			if lit, ok := arg.(*ast.BasicLit); ok {
				if text, err := strconv.Unquote(lit.Value); err == nil && strings.HasPrefix(text, "libnet: ") {
					lines = append(lines, text)
				}
			}
		}
		return true
	})
	return lines
}

func TestEveryLogLineOfTheRootIsDocumented(t *testing.T) {
	_, section, _ := strings.Cut(readDocument(t, "docs/operations.md"), "\n## 10. Log lines\n")
	section, _, _ = strings.Cut(section, "\n## ")
	found := 0
	eachGoFile(t, func(name string, file *ast.File) {
		if path.Dir(name) != "." || strings.HasSuffix(name, "_test.go") {
			return
		}
		for _, line := range logLinesOf(file) {
			if found++; !strings.Contains(section, "`"+line+"`") {
				t.Errorf("docs/operations.md, section 10, has no line `%s`", line)
			}
		}
	})
	if found < 8 {
		t.Errorf("found %d log lines in the code: the search is broken", found)
	}
}
