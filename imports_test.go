package libnet_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/libnet-go/libnet"

// nested are the folders that are modules of their own.
func nested(dir string) bool {
	found, _ := filepath.Glob(filepath.Join(dir, "go.mod"))
	return dir != "." && len(found) > 0
}

// sources calls f with each Go file of this module but tests, whose arrows may point anywhere.
func sources(t *testing.T, mode parser.Mode, f func(file string, parsed *ast.File)) {
	t.Helper()
	err := filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (nested(file) || entry.Name() == "testdata" || file != "." && strings.HasPrefix(entry.Name(), ".")):
			return fs.SkipDir
		case entry.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go"):
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, mode)
		if err == nil {
			f(filepath.ToSlash(file), parsed)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// imports lists what the packages of this module import, by package.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	all := make(map[string][]string)
	sources(t, parser.ImportsOnly, func(file string, parsed *ast.File) {
		pkg := path.Join(module, path.Dir(file))
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			all[pkg] = append(all[pkg], imported)
		}
	})
	return all
}

// isStd holds for the standard library: the first part of any other import path has a dot.
func isStd(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}

// locks is one of the packages of ours that the root imports: whoever imports the root gets nothing but the
// standard library with it.
const locks = module + "/internal/lock"

// chains looks through errors.
const chains = module + "/internal/errchain"

// sendQueues is what sessions send through.
const sendQueues = module + "/internal/sendqueue"

func TestTheRootImportsTheStandardLibraryOnly(t *testing.T) {
	all := imports(t)
	if len(all[module]) < 10 {
		t.Fatalf("found only these imports of the root package: %q", all[module])
	}
	for _, pkg := range []string{module, locks, chains, sendQueues} {
		for _, imported := range all[pkg] {
			if !isStd(imported) && imported != locks && imported != chains && imported != sendQueues || imported == "C" {
				t.Errorf("%s imports %s", pkg, imported)
			}
		}
	}
}

// What the module's packages may import beside the standard library. The arrows point to the root.
var mayImport = map[string][]string{
	locks:                     {},
	sendQueues:                {locks},
	chains:                    {},
	module:                    {locks, chains, sendQueues},
	module + "/codec":         {module, chains, sendQueues, "google.golang.org/protobuf/"},
	module + "/libnettest":    {module, locks},
	module + "/glogslog":      {"github.com/golang/glog"},
	module + "/reconnect":     {module, locks, chains, "github.com/cenkalti/backoff/v5"},
	module + "/ws":            {module, locks, chains, "github.com/coder/websocket"},
	module + "/monitor":       {module, locks},
	module + "/examples/echo": {module, module + "/"},

	// What tests share.
	module + "/internal/testkit": {module, module + "/codec", module + "/libnettest"},
}

func TestImportArrowsPointToTheRootAndNeverBack(t *testing.T) {
	for pkg, imported := range imports(t) {
		allowed, known := mayImport[pkg]
		if !known {
			t.Errorf("package %s is not in this test's list", pkg)
			continue
		}
		for _, i := range imported {
			ok := isStd(i) || slices.ContainsFunc(allowed, func(a string) bool {
				return i == a || strings.HasSuffix(a, "/") && strings.HasPrefix(i, a)
			})
			if !ok {
				t.Errorf("%s imports %s", pkg, i)
			}
		}
	}
}
