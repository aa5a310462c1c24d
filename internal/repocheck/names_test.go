package repocheck

import (
	"go/ast"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// An identifier of this repository's own, which no user writes and nobody else has: it begins with a lower-case letter
// and has a capital.
var ownPattern = regexp.MustCompile("`([a-z]+[a-z0-9]*[A-Z]\\w*)`")

// A member of a type, which is looked for where the type is declared here. What begins with a lower-case letter may be
// a variable's.
var memberPattern = regexp.MustCompile("`([A-Z]\\w*\\.\\w+)`")

// foreignNames are named in the documents and not ours.
var foreignNames = []string{
	"preStop", "terminationGracePeriodSeconds", // of Kubernetes
}

// An index has each identifier of the code, and the members of its types as they are written: "Session.State".
type index struct{ names, types, members map[string]bool }

func newIndex(t testing.TB) index {
	t.Helper()
	x := index{map[string]bool{}, map[string]bool{}, map[string]bool{}}
	eachGoFile(t, func(_ string, file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Ident:
				x.names[n.Name] = true
			case *ast.TypeSpec:
				x.types[n.Name.Name] = true
				x.enterMembers(n)
			case *ast.FuncDecl:
				if n.Recv != nil {
					x.members[receiverOf(n)+"."+n.Name.Name] = true
				}
			}
			return true
		})
	})
	return x
}

func (x index) enterMembers(spec *ast.TypeSpec) {
	var fields *ast.FieldList
	switch of := spec.Type.(type) {
	case *ast.StructType:
		fields = of.Fields
	case *ast.InterfaceType:
		fields = of.Methods
	default:
		return
	}
	for _, field := range fields.List {
		for _, name := range field.Names {
			x.members[spec.Name.Name+"."+name.Name] = true
		}
		if field.Names == nil { // embedded: what that has, the type has
			x.members[spec.Name.Name+".*"] = true
		}
	}
}

// receiverOf is the name of a method's type.
func receiverOf(f *ast.FuncDecl) (name string) {
	ast.Inspect(f.Recv.List[0].Type, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && name == "" {
			name = id.Name
		}
		return name == ""
	})
	return name
}

func (x index) hasName(name string) bool { return x.names[name] || slices.Contains(foreignNames, name) }

// hasMember holds, too, for what is no member of a type of ours, and where an embedded type may have it.
func (x index) hasMember(name string) bool {
	of, _, _ := strings.Cut(name, ".")
	return !x.types[of] || x.members[name] || x.members[of+".*"]
}

func TestNamesOfTheCodeThatTheDocumentsUseExist(t *testing.T) {
	x := newIndex(t)
	found := 0
	for _, doc := range documents(t) {
		switch doc.file {
		case "CHANGELOG.md", "docs/migrating.md", "examples/im/MOVING.md": // of what was, and of others' programs
			continue
		}
		doc.find(ownPattern, func(line int, name string) {
			if found++; !x.hasName(name) {
				t.Errorf("%s:%d: the code has no %s", doc.file, line, name)
			}
		})
		doc.find(memberPattern, func(line int, name string) {
			if found++; !x.hasMember(name) {
				t.Errorf("%s:%d: there is no %s", doc.file, line, name)
			}
		})
	}
	if found < 100 {
		t.Errorf("the documents use %d names: the search is broken", found)
	}
	if x.hasName("noSuchName") || x.hasMember("Queue.noSuchMember") || !x.hasMember("Queue.mu") {
		t.Error("names are not told apart")
	}
}
