package repocheck

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

// A mutex of package sync would escape the check of the lock order, and the exploration of schedules. The examples show
// what users write, who have no other.
func TestEveryMutexIsOfPackageLock(t *testing.T) {
	sources(t, parser.SkipObjectResolution, func(file string, parsed *ast.File) {
		if dir := path.Dir(file); dir == "internal/lock" || dir == "internal/testkit" || path.Dir(dir) == "examples" { // testkit is for tests alone
			return
		}
		for _, name := range mutexes(parsed) {
			t.Errorf("%s uses sync.%s: see internal/lock", file, name)
		}
	})
}

func mutexes(file *ast.File) (names []string) {
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			pkg, _ := s.X.(*ast.Ident)
			if pkg != nil && pkg.Name == "sync" && strings.HasSuffix(s.Sel.Name, "Mutex") {
				names = append(names, s.Sel.Name)
			}
		}
		return true
	})
	return names
}

// The table of docs/locks.md is what the check of the lock order is read against.
func TestTheDocumentOfLocksHasEveryClassAndNoOther(t *testing.T) {
	text, err := os.ReadFile("docs/locks.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[string]bool)
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+\\.\\w+Lock)`").FindAllStringSubmatch(string(text), -1) {
		documented[row[1]] = true
	}
	sources(t, parser.SkipObjectResolution, func(file string, parsed *ast.File) {
		for _, class := range lockClasses(parsed) {
			name := parsed.Name.Name + "." + class
			if !documented[name] {
				t.Errorf("%s: docs/locks.md does not have %s", file, name)
			}
			delete(documented, name)
		}
	})
	for name := range documented {
		t.Errorf("docs/locks.md has %s, which is no class of a lock", name)
	}
}

func lockClasses(file *ast.File) (classes []string) {
	ast.Inspect(file, func(n ast.Node) bool {
		i, ok := n.(*ast.IndexExpr)
		if !ok {
			return true
		}
		s, ok := i.X.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		pkg, _ := s.X.(*ast.Ident)
		class, _ := i.Index.(*ast.Ident)
		if pkg != nil && pkg.Name == "lock" && class != nil {
			classes = append(classes, class.Name)
		}
		return true
	})
	return classes
}

func TestTheChecksOfMutexesFindThem(t *testing.T) {
	const text = `package p
		type t struct { sync.Mutex; a *sync.RWMutex; b lock.Mutex[aLock]; c lock.RWMutex[bLock]; d sync.Map }`
	file, err := parser.ParseFile(token.NewFileSet(), "p.go", text, 0)
	if err != nil {
		t.Fatal(err)
	}
	if found := strings.Join(mutexes(file), " "); found != "Mutex RWMutex" {
		t.Errorf("found %q", found)
	}
	if found := strings.Join(lockClasses(file), " "); found != "aLock bLock" {
		t.Errorf("found classes %q", found)
	}
}
