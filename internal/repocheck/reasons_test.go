package repocheck

import (
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// closeReasons are the names under which libnet counts ends, read from the code, and what is said of them elsewhere.
type closeReasons struct{ code, comment, metrics []string }

func findCloseReasons(t testing.TB) (found closeReasons) {
	t.Helper()
	eachGoFile(t, func(name string, file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if path.Dir(name) == "." && n.Name.Name == "CloseReason" {
					found.comment = listedAfter(n.Doc.Text(), "one of:")
				}
				return false
			case *ast.ValueSpec:
				switch {
				case path.Dir(name) == "." && n.Names[0].Name == "closeReasons":
					found.code = append(stringsIn(n), "error") // that of all other errors
				case name == "monitor/metrics.go" && n.Names[0].Name == "reasons":
					found.metrics = stringsIn(n)
				}
			}
			return true
		})
	})
	return found
}

func stringsIn(n ast.Node) (found []string) {
	ast.Inspect(n, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok {
			if s, err := strconv.Unquote(lit.Value); err == nil {
				found = append(found, s)
			}
		}
		return true
	})
	return found
}

// listedAfter returns the words of a list with commas that begins behind a mark and ends with a full stop.
func listedAfter(text, mark string) []string {
	_, list, _ := strings.Cut(text, mark)
	list, _, _ = strings.Cut(list, ".")
	return regexp.MustCompile(`\w+`).FindAllString(list, -1)
}

// reasonsOfTheTable are the names in the first column of the table of reasons in docs/operations.md.
func reasonsOfTheTable(text string) (found []string) {
	_, table, _ := strings.Cut(text, "\n| reason |")
	table, _, _ = strings.Cut(table, "\n\n")
	for _, row := range tableRows(table, 3) { // the head has lost its bar
		found = append(found, quoted(row[0])...)
	}
	return found
}

func TestEveryListOfCloseReasonsIsTheSame(t *testing.T) {
	found := findCloseReasons(t)
	want := sorted(found.code)
	if len(want) < 10 {
		t.Fatalf("found only %q in the code: the search is broken", want)
	}
	for where, list := range map[string][]string{
		"the documentation of CloseReason": found.comment,
		"monitor/metrics.go":               found.metrics,
		"docs/operations.md":               reasonsOfTheTable(readDocument(t, "docs/operations.md")),
	} {
		if got := sorted(list); !slices.Equal(got, want) {
			t.Errorf("%s lists the close reasons\n%q, the code has\n%q", where, got, want)
		}
	}
}

// sorted returns the different ones: two errors may have one name.
func sorted(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}
