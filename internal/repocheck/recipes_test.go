package repocheck

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"testing"
)

// What a recipe sends its reader to: `name` in `file.go`, or of it.
var placePattern = regexp.MustCompile("`(\\w+)`\\s+(?:in|of)\\s+`([\\w./]+\\.go)`")

func TestTheRecipesLeadToWhatIsThere(t *testing.T) {
	places := placePattern.FindAllStringSubmatch(readDocument(t, "CONTRIBUTING.md"), -1)
	if len(places) < 10 {
		t.Fatalf("found %d places in CONTRIBUTING.md: the search is broken", len(places))
	}
	for _, place := range places {
		name, file := place[1], place[2]
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, file), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Errorf("CONTRIBUTING.md: %v", err)
			continue
		}
		if !declares(parsed, name) {
			t.Errorf("CONTRIBUTING.md looks for %s in %s, which does not have it", name, file)
		}
	}
}

// declares reports whether a file declares a function, method, type, variable or constant of that name.
func declares(file *ast.File, name string) (found bool) {
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			found = found || n.Name.Name == name
			return false
		case *ast.TypeSpec:
			found = found || n.Name.Name == name
		case *ast.ValueSpec:
			for _, id := range n.Names {
				found = found || id.Name == name
			}
		}
		return !found
	})
	return found
}
