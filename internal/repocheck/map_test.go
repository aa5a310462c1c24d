package repocheck

import (
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
)

// The map in docs/architecture.md says where to find things: each file of the root package and each package under
// internal/ is in one row, and the types that a row names are declared there.

// A mapRow is a row of the map.
type mapRow struct{ patterns, types []string }

func readMap(t testing.TB) (rows []mapRow) {
	t.Helper()
	_, text, begins := strings.Cut(readDocument(t, "docs/architecture.md"), "<!-- The map:")
	text, _, ends := strings.Cut(text, "<!-- end of the map -->")
	if !begins || !ends {
		t.Fatal("docs/architecture.md has no map")
	}
	for _, cells := range tableRows(text, 3) {
		if patterns := quoted(cells[0]); patterns != nil {
			rows = append(rows, mapRow{patterns, quoted(cells[1])})
		}
	}
	return rows
}

// covers reports whether one of the row's patterns is for the file: its name, or a folder above it.
func (r mapRow) covers(file string) bool { return slices.ContainsFunc(r.patterns, coversFile(file)) }

func coversFile(file string) func(pattern string) bool {
	return func(pattern string) bool {
		for name := file; name != "."; name = path.Dir(name) {
			if ok, _ := path.Match(pattern, name); ok {
				return true
			}
		}
		return false
	}
}

// isMapped holds for the files that the map must have: those of the root package, and all of internal/.
func isMapped(file string) bool {
	isTest := strings.HasSuffix(file, "_test.go")
	return path.Dir(file) == "." && !isTest || strings.HasPrefix(file, "internal/")
}

func TestTheMapOfTheArchitectureHasEveryFile(t *testing.T) {
	rows := readMap(t)
	used := make(map[string]bool)
	eachGoFile(t, func(file string, parsed *ast.File) {
		for _, r := range rows {
			for _, p := range r.patterns {
				used[p] = used[p] || coversFile(file)(p)
			}
		}
		if n := countRows(rows, file); isMapped(file) && n != 1 {
			t.Errorf("docs/architecture.md has %s in %d rows of its map", file, n)
		}
	})
	for _, r := range rows {
		for _, p := range r.patterns {
			if !used[p] {
				t.Errorf("docs/architecture.md: there is no %s", p)
			}
		}
	}
}

func countRows(rows []mapRow, file string) (n int) {
	for _, r := range rows {
		if r.covers(file) {
			n++
		}
	}
	return n
}

func TestTheTypesOfTheMapAreWhereItSays(t *testing.T) {
	rows := readMap(t)
	declared := make([]map[string]bool, len(rows))
	eachGoFile(t, func(file string, parsed *ast.File) {
		for i, r := range rows {
			if !r.covers(file) {
				continue
			}
			if declared[i] == nil {
				declared[i] = make(map[string]bool)
			}
			for _, name := range typesOf(parsed) {
				declared[i][name] = true
				declared[i][parsed.Name.Name+"."+name] = true
			}
		}
	})
	for i, r := range rows {
		for _, name := range r.types {
			if !declared[i][name] {
				t.Errorf("docs/architecture.md: %q have no type %s", r.patterns, name)
			}
		}
	}
}

func typesOf(file *ast.File) (names []string) {
	for _, decl := range file.Decls {
		d, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range d.Specs {
			if s, ok := spec.(*ast.TypeSpec); ok {
				names = append(names, s.Name.Name)
			}
		}
	}
	return names
}
