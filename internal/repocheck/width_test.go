package repocheck

import (
	"go/ast"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// maxWidth is how many columns prose may have; a tab is four. Tables, code and links cannot be broken.
const maxWidth = 120

func TestProseIsOf120ColumnsAtMost(t *testing.T) {
	eachGoFile(t, func(name string, file *ast.File) {
		if strings.HasSuffix(name, ".pb.go") || strings.HasSuffix(name, "example_test.go") {
			return // generated, or what a program prints
		}
		for _, group := range file.Comments {
			for _, comment := range group.List {
				if isProse(comment.Text) && width(comment.Text) > maxWidth {
					t.Errorf("%s has a comment of %d columns: %s", name, width(comment.Text), comment.Text)
				}
			}
		}
	})
	for _, doc := range documents(t) {
		for line := range strings.Lines(doc.prose()) {
			if line = strings.TrimRight(line, "\n"); width(line) > maxWidth && !unbreakable.MatchString(line) {
				t.Errorf("%s has a line of %d columns: %s", doc.file, width(line), line)
			}
		}
	}
}

// unbreakable is a table's row, an image or an element.
var unbreakable = regexp.MustCompile(`^\s*(\||!\[|<)`)

// isProse reports whether a line of a comment is neither code nor a directive.
func isProse(line string) bool {
	text, ok := strings.CutPrefix(line, "// ")
	return ok && (!strings.HasPrefix(text, " ") || strings.HasPrefix(text, "  - "))
}

func width(line string) int { return utf8.RuneCountInString(strings.ReplaceAll(line, "\t", "    ")) }
