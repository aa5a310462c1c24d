package hostile

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// packages are those whose exported API takes code of the user's.
var packages = map[string]string{
	"libnet": "../../..", "codec": "../../../codec", "ws": "../../../ws", "reconnect": "../../../reconnect", "monitor": "../../../monitor",
	"mux": "../../../mux", "resume": "../../../resume",
}

// ours are types of which the user gets a value and makes none.
var ours = map[string]bool{"libnet.Stream": true, "mux.Option": true}

func TestEveryInterfaceIsInTheTable(t *testing.T) {
	known := make(map[string]bool)
	for _, s := range slices.Concat(table, clientSites, muxSites, resumeSites) {
		known[s.name] = true
		known[s.source] = true
	}
	known["libnet.Config.Logger"] = known["slog.Handler.Handle"] // whose rows name no field
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

// ofOwnPackages are the methods of exported interfaces, the types of functions, the exported fields of functions, and
// the functions that take one.
func ofOwnPackages(t *testing.T) (names []string) {
	for name, dir := range packages {
		before := len(names)
		decls := declarations(t, dir)
		named := functionTypes(name, decls)
		for typ := range named {
			names = append(names, name+"."+typ)
		}
		for _, decl := range decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				names = append(names, ofFunction(name, d, named)...)
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

// functionTypes are the exported types that are functions, but for those with methods: these make an interface of a
// function, whose methods are in the table.
func functionTypes(pkg string, decls []ast.Decl) map[string]bool {
	named := make(map[string]bool)
	for _, decl := range decls {
		d, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range d.Specs {
			if spec, ok := spec.(*ast.TypeSpec); ok && spec.Name.IsExported() && !ours[pkg+"."+spec.Name.Name] && isFunction(spec.Type, nil) {
				named[spec.Name.Name] = true
			}
		}
	}
	for _, decl := range decls {
		if d, ok := decl.(*ast.FuncDecl); ok && d.Recv != nil {
			delete(named, receiver(d))
		}
	}
	return named
}

// isFunction reports whether a value of a type is a function, or has some: the last parameter of a variadic one does.
func isFunction(typ ast.Expr, named map[string]bool) bool {
	switch typ := typ.(type) {
	case *ast.FuncType:
		return true
	case *ast.Ident:
		return named[typ.Name]
	case *ast.IndexExpr: // of a generic type
		return isFunction(typ.X, named)
	case *ast.IndexListExpr:
		return isFunction(typ.X, named)
	case *ast.UnaryExpr: // ~func(), of a type parameter
		return isFunction(typ.X, named)
	case *ast.ParenExpr:
		return isFunction(typ.X, named)
	case *ast.ArrayType:
		return isFunction(typ.Elt, named)
	case *ast.MapType:
		return isFunction(typ.Value, named)
	case *ast.Ellipsis:
		return isFunction(typ.Elt, named)
	}
	return false
}

// receiver is the name of the type that has a method, whose parameters it is without.
func receiver(d *ast.FuncDecl) string {
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	switch generic := typ.(type) {
	case *ast.IndexExpr:
		typ = generic.X
	case *ast.IndexListExpr:
		typ = generic.X
	}
	return typ.(*ast.Ident).Name
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
		if !isFunction(field.Type, nil) && !isLogger(field.Type) {
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

// isLogger holds for a *slog.Logger, whose handler is the user's.
func isLogger(typ ast.Expr) bool {
	star, ok := typ.(*ast.StarExpr)
	if !ok {
		return false
	}
	of, ok := star.X.(*ast.SelectorExpr)
	return ok && of.Sel.Name == "Logger"
}

func ofFunction(pkg string, d *ast.FuncDecl, named map[string]bool) []string {
	if !d.Name.IsExported() {
		return nil
	}
	name := pkg + "."
	if d.Recv != nil {
		typ := receiver(d)
		if !ast.IsExported(typ) || named[typ] {
			return nil
		}
		name += typ + "."
	}
	named = withParameters(named, d.Type.TypeParams)
	for _, param := range d.Type.Params.List {
		if isFunction(param.Type, named) {
			return []string{name + d.Name.Name}
		}
	}
	return nil
}

// withParameters are named and those type parameters that stand for functions.
func withParameters(named map[string]bool, params *ast.FieldList) map[string]bool {
	if params == nil {
		return named
	}
	all := maps.Clone(named)
	for _, param := range params.List {
		for _, id := range param.Names {
			all[id.Name] = isFunction(param.Type, named)
		}
	}
	return all
}
