package repocheck

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Go code in documents is compiled, as far as its types go. The rule for a fenced block that is marked "go":
//
//   - With a package clause it is a whole file and must be right as it stands; a package main needs a main.
//   - With declarations only, the import clauses for the packages that it names are added, from fragmentImports.
//   - Else it is the body of a function whose parameters are fragmentParams. There it may declare what it does not
//     use, as a fragment does.
//
// What is not to be compiled (a signature, a shape with dots in it) is marked "text".
const fragmentParams = `ctx context.Context, srv *libnet.Server, s *libnet.Session, conn net.Conn, msg []byte, protocol libnet.Protocol, tlsConfig *tls.Config`

// fragmentImports are the packages that a fragment may name; a package is named by the last part of its path.
var fragmentImports = []string{
	"bytes", "context", "crypto/tls", "crypto/x509", "encoding/binary", "encoding/json", "errors", "fmt", "io", "log", "log/slog", "net", "net/http", "net/netip", "os", "os/signal",
	"sync", "sync/atomic", "syscall", "testing", "time",
	module, module + "/codec", module + "/glogslog", module + "/libnettest", module + "/monitor", module + "/mux", module + "/reconnect", module + "/ws",
}

// A codeBlock is a block of Go in a document.
type codeBlock struct {
	file string
	line int // of its first line of code
	code string
}

func (d document) codeBlocks() (blocks []codeBlock) {
	var open *codeBlock
	for i, line := range strings.Split(d.text, "\n") {
		mark, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && open != nil:
			blocks = append(blocks, *open)
			open = nil
		case fence && strings.TrimSpace(mark) == "go":
			open = &codeBlock{file: d.file, line: i + 2}
		case open != nil:
			open.code += line + "\n"
		}
	}
	return blocks
}

// source is the block as a file whose lines have the document's numbers. Fragments say that they are.
func (b codeBlock) source() (text string, fragment bool, err error) {
	pad := strings.Repeat("\n", b.line-1)
	whole := pad + b.code
	if _, err := parser.ParseFile(token.NewFileSet(), b.file, whole, parser.PackageClauseOnly); err == nil {
		return whole, false, nil
	}
	declarations := func(imports string) string { return "package p; " + imports + pad + b.code }
	if _, err := parser.ParseFile(token.NewFileSet(), b.file, declarations(""), 0); err == nil {
		return declarations(importsOf(b.code)), true, nil
	}
	body := func(imports string) string {
		return "package p; " + imports + "func _(" + fragmentParams + ") {{" + pad + b.code + "}}"
	}
	if _, err := parser.ParseFile(token.NewFileSet(), b.file, body(""), 0); err != nil {
		return "", true, err
	}
	return body(importsOf(b.code + fragmentParams)), true, nil
}

func importsOf(code string) (clauses string) {
	for _, p := range fragmentImports {
		if strings.Contains(code, path.Base(p)+".") {
			clauses += "import " + strconv.Quote(p) + "; "
		}
	}
	return clauses
}

// A compiler checks blocks against the packages that they import.
type compiler struct {
	fset     *token.FileSet
	importer types.Importer
}

// newCompiler has the go command compile what the files import. It works offline and knows all modules of go.work.
func newCompiler(t testing.TB, files []*ast.File, fset *token.FileSet) compiler {
	t.Helper()
	imported := []string{"context"}
	for _, f := range files {
		for _, spec := range f.Imports {
			p, _ := strconv.Unquote(spec.Path.Value)
			imported = append(imported, p)
		}
	}
	slices.Sort(imported)
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	list := exec.Command("go", append([]string{"list", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}"}, slices.Compact(imported)...)...)
	list.Env = append(os.Environ(), "GOWORK="+filepath.Join(root, "go.work"), "GOFLAGS=-mod=readonly")
	var stderr bytes.Buffer
	list.Stderr = &stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("what the documents import does not compile: %v\n%s", err, &stderr)
	}
	exports := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		if p, file, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			exports[p] = file
		}
	}
	return compiler{fset, importer.ForCompiler(fset, "gc", func(p string) (io.ReadCloser, error) { return os.Open(exports[p]) })}
}

// check returns what is wrong with a file.
func (c compiler) check(f *ast.File, fragment bool) error {
	var wrong []error
	config := types.Config{Importer: c.importer, Error: func(err error) {
		var e types.Error
		if soft := errors.As(err, &e) && e.Soft; !soft || !fragment {
			wrong = append(wrong, err)
		}
	}}
	pkg, _ := config.Check("p", c.fset, []*ast.File{f}, nil)
	if f.Name.Name == "main" && (pkg == nil || pkg.Scope().Lookup("main") == nil) {
		wrong = append(wrong, fmt.Errorf("%v: a program without main", c.fset.Position(f.Name.Pos())))
	}
	return errors.Join(wrong...)
}

func TestGoCodeInTheDocumentsCompiles(t *testing.T) {
	var blocks []codeBlock
	for _, doc := range documents(t) {
		blocks = append(blocks, doc.codeBlocks()...)
	}
	if len(blocks) == 0 {
		t.Fatal("the documents show no code: the search is broken")
	}
	compileBlocks(t, blocks, func(b codeBlock, err error) {
		if err != nil {
			t.Errorf("%s:%d: the block does not compile:\n%v", b.file, b.line, err)
		}
	})
}

// compileBlocks reports each block's error, nil for one that compiles.
func compileBlocks(t testing.TB, blocks []codeBlock, report func(codeBlock, error)) {
	t.Helper()
	fset := token.NewFileSet()
	files := make([]*ast.File, len(blocks))
	fragments := make([]bool, len(blocks))
	errs := make([]error, len(blocks))
	for i, b := range blocks {
		var text string
		if text, fragments[i], errs[i] = b.source(); errs[i] == nil {
			files[i], errs[i] = parser.ParseFile(fset, b.file, text, 0)
		}
	}
	c := newCompiler(t, slices.DeleteFunc(slices.Clone(files), func(f *ast.File) bool { return f == nil }), fset)
	for i, b := range blocks {
		if errs[i] == nil {
			errs[i] = c.check(files[i], fragments[i])
		}
		report(b, errs[i])
	}
}

func TestBrokenCodeInADocumentIsFound(t *testing.T) {
	const imports = "import (\n\"log\"\n\"" + module + "\"\n)\n"
	blocks := []struct{ code, wrong string }{
		{"s, err := libnet.Connect(\"tcp\", \"localhost:7000\", protocol, 64)", ""},
		{"type player struct{ session *libnet.Session }", ""},
		{"package main\n" + imports + "func main() { log.Print(libnet.ErrPanic) }", ""},
		{"\ns.NoSuchMethod()", "X.md:18:3: s.NoSuchMethod undefined"},
		{"if err := s.Send(msg); err != nil {", "expected"},
		{"srv.MaxSession = 10", "srv.MaxSession undefined"},
		{"nobody.Knows(1)", "undefined: nobody"},
		{"package main\n" + imports + "func main() { log.Print(1) }", "imported and not used"},
		{"package main\nfunc serve() {}", "without main"},
	}
	var text strings.Builder
	text.WriteString("# X\n")
	line := 2
	at := make(map[int]int)
	for i, b := range blocks {
		at[line+1] = i
		fmt.Fprintf(&text, "```go\n%s\n```\n", b.code)
		line += 3 + strings.Count(b.code, "\n")
	}
	text.WriteString("```text\nnot Go ...\n```\n")
	found := document{"X.md", text.String()}.codeBlocks()
	if len(found) != len(blocks) {
		t.Fatalf("found %d blocks of %d", len(found), len(blocks))
	}
	compileBlocks(t, found, func(b codeBlock, err error) {
		wrong := blocks[at[b.line]].wrong
		if (err == nil) != (wrong == "") || err != nil && !strings.Contains(err.Error(), wrong) {
			t.Errorf("%q: %v, want %q", b.code, err, wrong)
		}
	})
}
