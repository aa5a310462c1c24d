package config

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// outputs are exported structs that libnet fills and users read: their numbers are nobody's to set.
var outputs = map[string]bool{
	"libnet.BroadcastResult": true, "libnet.ClosedSession": true, "libnet.ConnInfo": true, "libnet.Histogram": true, "libnet.ServerStats": true, "libnet.SessionStats": true,
	"libnet.ShutdownError": true, "monitor.Connz": true, "monitor.Histogram": true, "monitor.Resumable": true, "monitor.Resumez": true, "monitor.Session": true, "monitor.Varz": true,
	"handover.Result": true, "mux.Stats": true, "reconnect.Change": true, "reconnect.Stats": true, "ws.HandshakeError": true,
	"resume.Error": true, "resume.ServerStats": true, "resume.Stats": true,
}

// harmless are numbers that are looked up or passed on, and bound nothing.
var harmless = map[string]string{
	"libnet.Manager.GetSession(id)": "looked up",
	"libnettest.Faults.Fail(op)":    "refused where there is no such call",
	"libnettest.Faults.Fail(k)":     "the number of a call, refused where it cannot be one",
	"libnettest.Faults.Calls(op)":   "looked up",
	"libnettest.Chaos.Seed":         "a seed",
	"libnettest.Sweep(op)":          "Faults.Fail's",
	"mux.Number(n)":                 "a name",
	"mux.Kinds.Numbered(n)":         "looked up",
	"mux.Header.ID":                 "sent as it is, or refused: see mux's tests of envelopes",
	"mux.Header.Role":               "the same",
	"mux.Request.ID":                "what came",
	"mux.Error.Code":                "sent as it is",
}

const root = "../../.."

// TestEveryNumberIsInTheTable fails for a number that was added and is not tried.
func TestEveryNumberIsInTheTable(t *testing.T) {
	found := make(map[string]bool)
	for _, dir := range packages(t) {
		for _, name := range numbersOf(t, dir) {
			found[name] = true
			if _, known := table[name]; !known && harmless[name] == "" {
				t.Errorf("%s is a number that a user sets, and not in the table", name)
			}
		}
	}
	for name := range table {
		if !found[name] {
			t.Errorf("%s is in the table and not in the module", name)
		}
	}
	if len(found) < 20 {
		t.Errorf("found only %d numbers", len(found))
	}
}

// packages lists the folders of the module's packages that others may import.
func packages(t *testing.T) (dirs []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		_, nested := os.Stat(filepath.Join(path, "go.mod"))
		if path != root && (nested == nil || strings.HasPrefix(entry.Name(), ".") || entry.Name() == "internal" || entry.Name() == "testdata") {
			return fs.SkipDir
		}
		dirs = append(dirs, path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

// numbersOf returns the names of the numeric fields of exported structs, and of the numeric parameters of exported
// functions and methods, of the package in dir.
func numbersOf(t *testing.T, dir string) (names []string) {
	t.Helper()
	files := parseAll(t, dir)
	numeric := numericTypes(files)
	for _, file := range files {
		names = append(names, numericFields(file, numeric)...)
		names = append(names, numericParams(file, numeric)...)
	}
	return names
}

// numericTypes has the names of Go's numeric types, and of those that files declare by one of these.
func numericTypes(files []*ast.File) map[string]bool {
	numeric := map[string]bool{"time.Duration": true, "uintptr": true, "byte": true, "rune": true}
	for _, kind := range []string{"int", "uint"} {
		for _, size := range []string{"", "8", "16", "32", "64"} {
			numeric[kind+size] = true
		}
	}
	numeric["float32"], numeric["float64"] = true, true
	for _, file := range files {
		for _, spec := range typeSpecs(file) {
			if numeric[types.ExprString(spec.Type)] {
				numeric[spec.Name.Name] = true
			}
		}
	}
	return numeric
}

func numericFields(file *ast.File, numeric map[string]bool) (names []string) {
	pkg := file.Name.Name + "."
	for _, spec := range typeSpecs(file) {
		s, ok := spec.Type.(*ast.StructType)
		if !ok || !spec.Name.IsExported() || outputs[pkg+spec.Name.Name] {
			continue
		}
		for _, field := range exported(numericNames(s.Fields, numeric)) {
			names = append(names, pkg+spec.Name.Name+"."+field)
		}
	}
	return names
}

func numericParams(file *ast.File, numeric map[string]bool) (names []string) {
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || !f.Name.IsExported() {
			continue
		}
		name, ok := callable(f)
		if !ok {
			continue
		}
		for _, param := range numericNames(f.Type.Params, numeric) {
			names = append(names, file.Name.Name+"."+name+"("+param+")")
		}
	}
	return names
}

func parseAll(t *testing.T, dir string) (files []*ast.File) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

func typeSpecs(file *ast.File) (specs []*ast.TypeSpec) {
	for _, decl := range file.Decls {
		if g, ok := decl.(*ast.GenDecl); ok {
			for _, spec := range g.Specs {
				if s, ok := spec.(*ast.TypeSpec); ok {
					specs = append(specs, s)
				}
			}
		}
	}
	return specs
}

func numericNames(fields *ast.FieldList, numeric map[string]bool) (names []string) {
	for _, field := range fields.List {
		if numeric[types.ExprString(field.Type)] {
			for _, name := range field.Names {
				names = append(names, name.Name)
			}
		}
	}
	return names
}

func exported(names []string) (out []string) {
	for _, name := range names {
		if ast.IsExported(name) {
			out = append(out, name)
		}
	}
	return out
}

// callable returns how a user calls f, unless it is a method of an unexported type.
func callable(f *ast.FuncDecl) (name string, ok bool) {
	if f.Recv == nil {
		return f.Name.Name, true
	}
	receiver := strings.TrimLeft(types.ExprString(f.Recv.List[0].Type), "*")
	receiver, _, _ = strings.Cut(receiver, "[")
	return receiver + "." + f.Name.Name, ast.IsExported(receiver)
}
