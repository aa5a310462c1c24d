package repocheck

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// A document is a Markdown file of this repository, nested modules included.
type document struct {
	file string // relative to the root, with slashes
	text string
}

func documents(t testing.TB) (docs []document) {
	t.Helper()
	eachFile(t, func(file string) {
		if filepath.Ext(file) != ".md" {
			return
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, document{file, string(text)})
	})
	if len(docs) < 4 {
		t.Fatalf("found %d documents: the search is broken", len(docs))
	}
	return docs
}

func eachFile(t testing.TB, f func(file string)) {
	t.Helper()
	if err := os.Chdir(directory); err != nil { // we are there: go test, which keeps results, learns of it only now
		t.Fatal(err)
	}
	err := filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case !entry.IsDir():
			f(filepath.ToSlash(file))
		case entry.Name() == "testdata" || entry.Name() == "node_modules" || file != "." && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// prose is the text without its fenced blocks, whose lines are left empty so that numbers stay right.
func (d document) prose() string {
	lines := strings.Split(d.text, "\n")
	fenced := false
	for i, line := range lines {
		fence := strings.HasPrefix(strings.TrimSpace(line), "```")
		if fenced || fence {
			lines[i] = ""
		}
		fenced = fenced != fence
	}
	return strings.Join(lines, "\n")
}

// find calls f with the first group of each match in the prose, and its line.
func (d document) find(pattern *regexp.Regexp, f func(line int, match string)) {
	for i, line := range strings.Split(d.prose(), "\n") {
		for _, m := range pattern.FindAllStringSubmatch(line, -1) {
			f(i+1, m[1])
		}
	}
}

var (
	linkPattern   = regexp.MustCompile(`\]\(([^)\s]+)[^)]*\)`)
	imagePattern  = regexp.MustCompile(`<(?:img|source|a)[^>]*(?:src|srcset|href)="([^"]+)"`)
	testPattern   = regexp.MustCompile("`((?:Test|Fuzz|Benchmark|Example)[A-Z]\\w*…?)`")
	metricPattern = regexp.MustCompile("`(libnet_\\w+)`")
	filePattern   = regexp.MustCompile("`([\\w*./-]+\\.(?:go|md))`")
)

func TestLinksOfTheDocumentsLeadSomewhere(t *testing.T) {
	for _, doc := range documents(t) {
		check := func(line int, target string) {
			if err := checkLink(doc, target); err != nil {
				t.Errorf("%s:%d: %v", doc.file, line, err)
			}
		}
		doc.find(linkPattern, check)
		doc.find(imagePattern, check)
	}
}

// checkLink looks at links within the repository; the others need a network.
func checkLink(doc document, target string) error {
	if regexp.MustCompile(`^[a-z]+:`).MatchString(target) {
		return nil
	}
	file, anchor, _ := strings.Cut(target, "#")
	text := doc.text
	if file != "" {
		path := filepath.Join(filepath.Dir(doc.file), filepath.FromSlash(file))
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("%s leads nowhere: %w", target, err)
		}
		if anchor != "" && strings.HasSuffix(file, ".md") {
			linked, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text = string(linked)
		}
	}
	if anchor != "" && !hasHeading(document{text: text}, anchor) {
		return fmt.Errorf("%s: no such heading", target)
	}
	return nil
}

// hasHeading looks for a heading as GitHub names it: lower case, spaces as hyphens, no punctuation.
func hasHeading(doc document, anchor string) bool {
	for line := range strings.SplitSeq(doc.prose(), "\n") {
		heading := strings.TrimLeft(line, "#")
		if heading == line || !strings.HasPrefix(heading, " ") {
			continue
		}
		id := strings.Map(func(r rune) rune {
			switch {
			case r == ' ' || r == '-':
				return '-'
			case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(heading))
		if id == anchor {
			return true
		}
	}
	return false
}

// foreignFiles are named in the documents and not ours.
var foreignFiles = []string{
	"main.go",        // the reader's
	"channel_gen.go", // funny/link's
}

func TestFilesThatTheDocumentsNameExist(t *testing.T) {
	for _, doc := range documents(t) {
		doc.find(filePattern, func(line int, name string) {
			if slices.Contains(foreignFiles, name) {
				return
			}
			for _, dir := range []string{filepath.Dir(doc.file), "."} {
				if found, _ := filepath.Glob(filepath.Join(dir, filepath.FromSlash(name))); len(found) > 0 {
					return
				}
			}
			t.Errorf("%s:%d: there is no %s", doc.file, line, name)
		})
	}
}

// A name that ends in … stands for the tests whose names begin so.
func TestTestsThatTheDocumentsNameExist(t *testing.T) {
	tests := testFunctions(t)
	named := 0
	for _, doc := range documents(t) {
		doc.find(testPattern, func(line int, name string) {
			named++
			if !isTest(tests, name) {
				t.Errorf("%s:%d: there is no test %s", doc.file, line, name)
			}
		})
	}
	if named < 20 {
		t.Errorf("the documents name %d tests: the search is broken", named)
	}
}

func isTest(tests map[string]bool, name string) bool {
	prefix, begins := strings.CutSuffix(name, "…")
	if !begins {
		return tests[name]
	}
	for test := range tests {
		if strings.HasPrefix(test, prefix) {
			return true
		}
	}
	return false
}

func testFunctions(t testing.TB) map[string]bool {
	t.Helper()
	tests := make(map[string]bool)
	eachFile(t, func(file string) {
		if !strings.HasSuffix(file, "_test.go") {
			return
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range parsed.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil {
				tests[f.Name.Name] = true
			}
		}
	})
	return tests
}

func TestMetricsThatTheDocumentsNameExist(t *testing.T) {
	var source strings.Builder
	eachFile(t, func(file string) {
		if filepath.Dir(file) != "monitor" || strings.HasSuffix(file, "_test.go") || !strings.HasSuffix(file, ".go") {
			return
		}
		code, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(code)
	})
	for _, doc := range documents(t) {
		doc.find(metricPattern, func(line int, name string) {
			if !strings.Contains(source.String(), `"`+name+`"`) {
				t.Errorf("%s:%d: the monitor has no %s", doc.file, line, name)
			}
		})
	}
}

// A check that could not fail would say nothing.
func TestTheChecksOfDocumentsFindWhatIsBroken(t *testing.T) {
	doc := document{"README.md", "# One heading, `code`\n\n[a](config.go) [b](#one-heading-code) ![c](docs/architecture.md#words)\n```\n[in](code)\n```\n"}
	doc.find(linkPattern, func(_ int, target string) {
		if err := checkLink(doc, target); err != nil {
			t.Error(err)
		}
	})
	for _, target := range []string{"no-such-file.md", "#no-such-heading", "docs/architecture.md#no-such-heading", "code"} {
		if checkLink(doc, target) == nil {
			t.Errorf("%s was taken for a link that leads somewhere", target)
		}
	}
	tests := map[string]bool{"TestK4Order": true}
	if !isTest(tests, "TestK4…") || !isTest(tests, "TestK4Order") || isTest(tests, "TestK4") || isTest(tests, "TestK5…") {
		t.Error("test names are not told apart")
	}
}
