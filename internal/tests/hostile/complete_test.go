package hostile

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"net"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

// packages are those whose exported API takes code of the user's.
var packages = map[string]string{
	"libnet": "../../..", "codec": "../../../codec", "ws": "../../../ws", "reconnect": "../../../reconnect", "monitor": "../../../monitor",
}

// ours are interfaces of which the user gets a value and makes none.
var ours = map[string]bool{"libnet.Stream": true}

func TestEveryInterfaceIsInTheTable(t *testing.T) {
	known := make(map[string]bool)
	for _, s := range append(append([]site(nil), table...), clientSites...) {
		known[s.name] = true
		known[s.source] = true
	}
	for name := range uncalled {
		known[name] = true
	}
	for _, name := range append(ofStandardLibrary(), ofOwnPackages(t)...) {
		if !known[name] {
			t.Errorf("%s is neither in the table nor among those that libnet does not call", name)
		}
	}
}

// ofStandardLibrary are the methods of the interfaces of package net and others through which libnet calls a user.
func ofStandardLibrary() []string {
	names := []string{"error.Is", "error.As", "error.Unwrap", "net.Conn.CloseWrite", "net.Conn.NetConn"}
	for _, of := range []reflect.Type{
		reflect.TypeFor[net.Conn](), reflect.TypeFor[net.Listener](), reflect.TypeFor[net.Addr](), reflect.TypeFor[net.Error](),
		reflect.TypeFor[slog.Handler](), reflect.TypeFor[syscall.Conn](), reflect.TypeFor[syscall.RawConn](), reflect.TypeFor[error](),
	} {
		for i := range of.NumMethod() {
			if method := of.Method(i).Name; of != reflect.TypeFor[net.Error]() || method != "Error" {
				names = append(names, of.String()+"."+method)
			}
		}
	}
	return names
}

// ofOwnPackages are the methods of exported interfaces, the exported fields of functions, and the functions that take one.
func ofOwnPackages(t *testing.T) (names []string) {
	for name, dir := range packages {
		before := len(names)
		for _, decl := range declarations(t, dir) {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				names = append(names, ofFunction(name, d)...)
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if spec, ok := spec.(*ast.TypeSpec); ok && spec.Name.IsExported() && !ours[name+"."+spec.Name.Name] {
						names = append(names, ofType(name+"."+spec.Name.Name, spec.Type)...)
					}
				}
			}
		}
		if name != "ws" && len(names) == before {
			t.Errorf("package %s takes no code of the user's: this test does not find it", name)
		}
	}
	return names
}

func declarations(t *testing.T, dir string) (decls []ast.Decl) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatal(dir, fs.ErrNotExist)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		decls = append(decls, f.Decls...)
	}
	return decls
}

func ofType(name string, typ ast.Expr) (names []string) {
	var fields *ast.FieldList
	isInterface := false
	switch typ := typ.(type) {
	case *ast.InterfaceType:
		fields, isInterface = typ.Methods, true
	case *ast.StructType:
		fields = typ.Fields
	default:
		return nil
	}
	for _, field := range fields.List {
		if _, isFunc := field.Type.(*ast.FuncType); !isFunc {
			continue
		}
		for _, id := range field.Names {
			if id.IsExported() || isInterface {
				names = append(names, name+"."+id.Name)
			}
		}
	}
	return names
}

func ofFunction(pkg string, d *ast.FuncDecl) []string {
	if !d.Name.IsExported() {
		return nil
	}
	name := pkg + "."
	if d.Recv != nil {
		typ := d.Recv.List[0].Type
		if star, ok := typ.(*ast.StarExpr); ok {
			typ = star.X
		}
		id, ok := typ.(*ast.Ident)
		if !ok || !id.IsExported() {
			return nil
		}
		name += id.Name + "."
	}
	for _, param := range d.Type.Params.List {
		if _, ok := param.Type.(*ast.FuncType); ok {
			return []string{name + d.Name.Name}
		}
	}
	return nil
}
