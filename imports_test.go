package libnet_test

import (
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

// imports lists what the packages of this module import, by package; tests, whose arrows may point
// anywhere, are left out.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	all := make(map[string][]string)
	err := filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (nested(file) || entry.Name() == "testdata" || file != "." && strings.HasPrefix(entry.Name(), ".")):
			return fs.SkipDir
		case entry.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go"):
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg := path.Join(module, filepath.ToSlash(filepath.Dir(file)))
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			all[pkg] = append(all[pkg], imported)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// isStd holds for the standard library: the first part of any other import path has a dot.
func isStd(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}

func TestTheRootImportsTheStandardLibraryOnly(t *testing.T) {
	all := imports(t)
	if len(all[module]) < 10 {
		t.Fatalf("found only these imports of the root package: %q", all[module])
	}
	for _, imported := range all[module] {
		if !isStd(imported) || imported == "C" {
			t.Errorf("the root package imports %s", imported)
		}
	}
}

// What the module's packages may import beside the standard library. The arrows point to the root.
var mayImport = map[string][]string{
	module:                    {},
	module + "/codec":         {module, "google.golang.org/protobuf/"},
	module + "/libnettest":    {module},
	module + "/glogslog":      {"github.com/golang/glog"},
	module + "/reconnect":     {module, "github.com/cenkalti/backoff/v5"},
	module + "/ws":            {module, "github.com/coder/websocket"},
	module + "/monitor":       {module},
	module + "/examples/echo": {module, module + "/"},
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
