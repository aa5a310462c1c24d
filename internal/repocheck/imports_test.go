package repocheck

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

// The packages of ours that the root may import: whoever imports the root gets nothing but these and the standard
// library with it. None of them sees the root; the arrows among them point down.
const (
	locks     = module + "/internal/lock"
	readbuf   = module + "/internal/readbuf"
	sockets   = module + "/internal/sockets"
	sendqueue = module + "/internal/sendqueue"
	eventloop = module + "/internal/eventloop"
	chains    = module + "/internal/errchain"
	usercode  = module + "/internal/usercode"
	ratelimit = module + "/internal/ratelimit"
	histogram = module + "/internal/histogram"
	firsts    = module + "/internal/firstbytes"
	proxy     = module + "/internal/proxyproto"
	prefixes  = module + "/internal/lengthprefix"
	moving    = module + "/internal/moving"
	insides   = module + "/internal/inside"
	settings  = module + "/internal/setting"
	sysmon    = module + "/internal/sysmon"

	resumables = module + "/internal/resumable" // which the root does not need
)

var leaves = []string{locks, readbuf, sockets, sendqueue, eventloop, chains, usercode, ratelimit, histogram, firsts, proxy, prefixes, moving, insides, settings, sysmon}

func TestTheRootImportsTheStandardLibraryOnly(t *testing.T) {
	all := imports(t)
	if len(all[module]) < 10 {
		t.Fatalf("found only these imports of the root package: %q", all[module])
	}
	for _, pkg := range append([]string{module}, leaves...) {
		for _, imported := range all[pkg] {
			if !isStd(imported) && !slices.Contains(leaves, imported) || imported == "C" {
				t.Errorf("%s imports %s", pkg, imported)
			}
		}
	}
}

// What the module's packages may import beside the standard library. The arrows point to the root.
var mayImport = map[string][]string{
	locks:                     {},
	readbuf:                   {locks},
	sockets:                   {locks, readbuf, firsts, chains, usercode, sysmon},
	sendqueue:                 {locks, usercode, histogram},
	eventloop:                 {locks, sysmon},
	chains:                    {},
	usercode:                  {},
	ratelimit:                 {},
	histogram:                 {},
	firsts:                    {},
	proxy:                     {},
	prefixes:                  {},
	moving:                    {sendqueue},
	insides:                   {sendqueue},
	settings:                  {},
	sysmon:                    {},
	resumables:                {},
	module:                    leaves,
	module + "/codec":         {module, chains, firsts, prefixes, insides, sendqueue, "google.golang.org/protobuf/"},
	module + "/libnettest":    {module, locks, chains, usercode, insides},
	module + "/glogslog":      {"github.com/golang/glog"},
	module + "/reconnect":     {module, locks, chains, usercode, settings, "github.com/cenkalti/backoff/v5"},
	module + "/ws":            {module, locks, chains, prefixes, usercode, sendqueue, sockets, ratelimit, insides, "github.com/coder/websocket"},
	module + "/monitor":       {module, locks, usercode, resumables},
	module + "/mux":           {module, locks, chains, usercode, insides, settings, module + "/codec", "google.golang.org/protobuf/"},
	module + "/handover":      {module, moving, sendqueue, chains, usercode, settings},
	module + "/resume":        {module, locks, chains, usercode, sendqueue, insides, settings, resumables, module + "/codec", module + "/reconnect"},
	module + "/resume/web":    {},
	module + "/examples/echo": {module, module + "/"},
	module + "/examples/chat": {module, module + "/"},

	module + "/examples/game":    {module, module + "/"},
	module + "/examples/gateway": {module, module + "/"},
	module + "/examples/proxy":   {module, module + "/"},
	module + "/examples/start":   {module, module + "/"},

	// What tests share.
	module + "/internal/testkit": {module, module + "/codec", module + "/libnettest", module + "/ws"},
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

// The packages of internal/ are for this module alone, but Go would let the nested modules import them, too, which may
// have another version of it.
func TestNestedModulesImportNothingInternal(t *testing.T) {
	goMods, err := filepath.Glob("*/go.mod")
	deeper, deeperErr := filepath.Glob("*/*/go.mod")
	if err != nil || deeperErr != nil {
		t.Fatal(err, deeperErr)
	}
	if goMods = append(goMods, deeper...); len(goMods) < 5 {
		t.Fatalf("found only these nested modules: %q", goMods)
	}
	for _, goMod := range goMods {
		eachModuleFile(t, filepath.Dir(goMod), func(file string, parsed *ast.File) {
			for _, spec := range parsed.Imports {
				if strings.HasPrefix(spec.Path.Value, `"`+module+"/internal/") {
					t.Errorf("%s imports %s", file, spec.Path.Value)
				}
			}
		})
	}
}

// eachModuleFile calls f with each Go file below dir.
func eachModuleFile(t *testing.T, dir string, f func(file string, parsed *ast.File)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(file, ".go") {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err == nil {
			f(filepath.ToSlash(file), parsed)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
