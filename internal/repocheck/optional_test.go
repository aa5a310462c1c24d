package repocheck

import (
	"bytes"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const optionalDocument = "docs/optional.md"

// A method that is looked for by a type assertion is a promise to users, or nobody's but ours: a user's type that has
// one of the same name by accident would be taken at a word that it has not given. An exported interface says by itself
// what is promised; of any other each method is in the document, or no user's: it takes or returns a type of internal/,
// as that of internal/inside, or is unexported.
func TestEveryMethodThatIsLookedForIsDocumentedOrNobodysElse(t *testing.T) {
	text, err := os.ReadFile(optionalDocument)
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[string]bool)
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(string(text), -1) {
		documented[row[1]] = false
	}
	lookers := lookersOf(t)
	if len(lookers) < 10 {
		t.Fatalf("checked only %d packages", len(lookers))
	}
	for _, l := range lookers {
		for method, where := range l.open() {
			if _, ok := documented[method]; !ok {
				t.Errorf("%s looks for the method %s: have it take an inside.Call, or document it in %s", where, method, optionalDocument)
			}
			documented[method] = true
		}
	}
	for method, used := range documented {
		if !used {
			t.Errorf("%s has %s, which nothing looks for", optionalDocument, method)
		}
	}
}

// A looker is a package whose type assertions are looked at.
type looker struct {
	fset  *token.FileSet
	files []*ast.File
	info  *types.Info
}

// lookersOf are the packages of this module, as they are on this system, but for those that are for tests alone and the
// examples.
func lookersOf(t *testing.T) (all []*looker) {
	t.Helper()
	var failed bytes.Buffer
	list := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}\t{{.Dir}}\t{{.GoFiles}}", "./...")
	list.Stderr = &failed
	listed, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, failed.String())
	}
	exports := make(map[string]string)
	var mine [][]string
	for line := range strings.Lines(string(listed)) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		exports[f[0]] = f[1]
		rest, is := strings.CutPrefix(f[0]+"/", module+"/")
		if is && !strings.HasPrefix(rest, "examples/") && !strings.HasPrefix(rest, "internal/test") && len(f) == 4 {
			mine = append(mine, f)
		}
	}
	for _, f := range mine {
		all = append(all, newLooker(t, f[0], f[2], strings.Fields(strings.Trim(f[3], "[]")), exports))
	}
	return all
}

func newLooker(t *testing.T, path, dir string, names []string, exports map[string]string) *looker {
	t.Helper()
	l := &looker{fset: token.NewFileSet()}
	for _, name := range names {
		file, err := parser.ParseFile(l.fset, filepath.Join(dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		l.files = append(l.files, file)
	}
	l.check(t, path, func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	return l
}

func (l *looker) check(t *testing.T, path string, lookup importer.Lookup) {
	t.Helper()
	l.info = &types.Info{Types: make(map[ast.Expr]types.TypeAndValue), Instances: make(map[*ast.Ident]types.Instance)}
	config := types.Config{Importer: importer.ForCompiler(l.fset, "gc", lookup)}
	if _, err := config.Check(path, l.fset, l.files, l.info); err != nil {
		t.Fatal(err)
	}
}

// open lists the methods that are looked for and that a user's type can have, and where one is.
func (l *looker) open() map[string]string {
	found := make(map[string]string)
	look := func(e ast.Node, typ types.Type) {
		if typ == nil || !types.IsInterface(typ) {
			return
		}
		if _, any := typ.(*types.TypeParam); any {
			return // what it stands for is looked at where it is said
		}
		for m := range hidden(typ) {
			if m.Exported() && !isInside(m.Type()) {
				found[methodText(m)] = l.fset.Position(e.Pos()).String()
			}
		}
	}
	for _, file := range l.files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.TypeAssertExpr:
				if n.Type != nil {
					look(n, l.info.TypeOf(n.Type))
				}
			case *ast.TypeSwitchStmt:
				for _, clause := range n.Body.List {
					for _, typ := range clause.(*ast.CaseClause).List {
						look(typ, l.info.TypeOf(typ))
					}
				}
			case *ast.Ident: // a function like errchain.As, which looks for what it is instantiated with
				args := l.info.Instances[n].TypeArgs
				for i := range args.Len() {
					look(n, args.At(i))
				}
			}
			return true
		})
	}
	return found
}

// hidden yields the methods of an interface that no exported interface has.
func hidden(typ types.Type) iter.Seq[*types.Func] {
	return func(yield func(*types.Func) bool) {
		if named, ok := types.Unalias(typ).(*types.Named); ok && isPublic(named.Obj()) {
			return
		}
		of, ok := typ.Underlying().(*types.Interface)
		for i := 0; ok && i < of.NumExplicitMethods(); i++ {
			if !yield(of.ExplicitMethod(i)) {
				return
			}
		}
		for i := 0; ok && i < of.NumEmbeddeds(); i++ {
			for m := range hidden(of.EmbeddedType(i)) {
				if !yield(m) {
					return
				}
			}
		}
	}
}

// isPublic reports whether users see a type: any of the language's own, and an exported one outside internal/.
func isPublic(name *types.TypeName) bool {
	return name.Pkg() == nil || name.Exported() && !strings.HasPrefix(name.Pkg().Path(), module+"/internal/")
}

// isInside reports whether a method's type has one of internal/ in it, which users cannot name.
func isInside(typ types.Type) bool {
	signature := typ.(*types.Signature)
	for _, tuple := range []*types.Tuple{signature.Params(), signature.Results()} {
		for v := range tuple.Variables() {
			inner := v.Type()
			if p, ok := inner.(*types.Pointer); ok {
				inner = p.Elem()
			}
			if named, ok := inner.(*types.Named); ok && named.Obj().Pkg() != nil && strings.HasPrefix(named.Obj().Pkg().Path(), module+"/internal/") {
				return true
			}
		}
	}
	return false
}

// methodText is a method as the document has it: without the names of parameters.
func methodText(m types.Object) string {
	signature := m.Type().(*types.Signature)
	results := typesText(signature.Results())
	switch signature.Results().Len() {
	case 0:
	case 1:
		results = " " + results
	default:
		results = " (" + results + ")"
	}
	return m.Name() + "(" + typesText(signature.Params()) + ")" + results
}

func typesText(of *types.Tuple) string {
	var all []string
	for v := range of.Variables() {
		all = append(all, types.TypeString(v.Type(), (*types.Package).Name))
	}
	return strings.Join(all, ", ")
}

func TestTheCheckOfMethodsFindsThem(t *testing.T) {
	const text = `package p
		type named interface { Named(int) (string, error); Public; unexported() }
		type only interface { unexported() }
		type Public interface { Documented() }
		func is[T any](v any) bool { _, ok := v.(T); return ok }
		func f(v any) bool {
			_, _ = v.(interface{ Asserted() bool })
			_, _ = v.(only)
			_ = v.(*int)
			switch v.(type) {
			case named:
			case interface{ Switched([]string) }, error, Public:
			}
			return is[interface{ Instantiated() }](v)
		}`
	l := &looker{fset: token.NewFileSet()}
	file, err := parser.ParseFile(l.fset, "p.go", text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	l.files = []*ast.File{file}
	l.check(t, "p", nil)
	found := l.open()
	for _, want := range []string{"Named(int) (string, error)", "Asserted() bool", "Switched([]string)", "Instantiated()"} {
		if found[want] == "" {
			t.Errorf("it does not find %s", want)
		}
		delete(found, want)
	}
	if len(found) > 0 {
		t.Errorf("it finds %q", found)
	}
}
