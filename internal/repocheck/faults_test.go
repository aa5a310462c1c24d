package repocheck

import (
	"go/ast"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// codesOf are the codes that a test's name begins with: K4 and S4 of TestK4S4SendersDoNotMix.
func codesOf(testName string) []string {
	return singleCode.FindAllString(namedCodes.FindString(strings.TrimPrefix(testName, "Test")), -1)
}

var (
	namedCodes = regexp.MustCompile(`^([A-Z][0-9]+)+`)
	singleCode = regexp.MustCompile(`[A-Z][0-9]+`)

	// A code in a comment has a series of docs/faults.md. Other words have the same form (I32, P99), so the code stands
	// at the beginning of a comment or of a sentence's end, before a colon or a full stop, or next to the document's
	// name.
	commentedCode = regexp.MustCompile(`(?:^// |docs/faults\.md, )([A-GIKLMSV][0-9]{1,3})\b(?: of docs/faults\.md|:|\))`)
)

// codedTests are the tests by the codes of their names and comments.
type codedTests map[string][]string

func findCodedTests(t testing.TB) (tests []string, coded codedTests) {
	t.Helper()
	coded = make(codedTests)
	eachGoFile(t, func(name string, file *ast.File) {
		if strings.HasSuffix(name, "_test.go") {
			tests = append(tests, testsOf(file, coded)...)
		}
	})
	if len(tests) < 100 {
		t.Fatalf("found %d tests: the search is broken", len(tests))
	}
	return tests, coded
}

// testsOf returns the tests of a file, and enters their codes. What a comment within a test, or above it, says is the
// test's.
func testsOf(file *ast.File, coded codedTests) (tests []string) {
	comments := file.Comments
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		codes := codesOf(f.Name.Name)
		for len(comments) > 0 && comments[0].Pos() < f.End() {
			for _, line := range comments[0].List {
				for _, m := range commentedCode.FindAllStringSubmatch(line.Text, -1) {
					codes = append(codes, m[1])
				}
			}
			comments = comments[1:]
		}
		if strings.HasPrefix(f.Name.Name, "Test") {
			tests = append(tests, f.Name.Name)
		}
		for _, code := range codes {
			coded[code] = append(coded[code], f.Name.Name)
		}
	}
	return tests
}

// faultRows are the rows of docs/faults.md by their codes.
func faultRows(t testing.TB) map[string][]string {
	t.Helper()
	rows := make(map[string][]string)
	for _, row := range tableRows(readDocument(t, "docs/faults.md"), 3) {
		code := row[0]
		if !singleCode.MatchString(code) {
			continue
		}
		if rows[code] != nil {
			t.Errorf("docs/faults.md has %s twice", code)
		}
		rows[code] = quoted(row[2])
	}
	return rows
}

func TestEveryCodeInATestHasItsRow(t *testing.T) {
	_, coded := findCodedTests(t)
	rows := faultRows(t)
	for code, tests := range coded {
		if rows[code] == nil {
			t.Errorf("docs/faults.md has no row for %s of %s", code, tests[0])
		}
	}
}

func TestEveryRowOfTheFaultsNamesItsTests(t *testing.T) {
	tests, coded := findCodedTests(t)
	for code, names := range faultRows(t) {
		own := false
		for _, name := range names {
			matches := testsNamed(tests, name)
			if len(matches) == 0 {
				t.Errorf("docs/faults.md, %s: there is no test %s", code, name)
			}
			own = own || slices.ContainsFunc(matches, func(test string) bool { return slices.Contains(coded[code], test) })
		}
		if !own {
			t.Errorf("docs/faults.md, %s: no test of %q has the code in its name or its comment", code, names)
		}
	}
}

// testsNamed returns the tests of that name, or those that begin with it if it ends in ….
func testsNamed(tests []string, name string) (found []string) {
	prefix, begins := strings.CutSuffix(name, "…")
	for _, test := range tests {
		if test == name || begins && strings.HasPrefix(test, prefix) {
			found = append(found, test)
		}
	}
	return found
}

func TestCodesAreReadFromNamesAndComments(t *testing.T) {
	for name, want := range map[string]string{
		"TestK4S4SendersDoNotMix": "K4 S4", "TestA2AClaimedLength": "A2", "TestG100WhatPeersSay": "G100", "TestASessionWaits": "",
	} {
		if got := strings.Join(codesOf(name), " "); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for comment, want := range map[string]string{
		"// K1: it spun": "K1", "// B31 of docs/faults.md.": "B31", "// it spins (docs/faults.md, G1)": "G1", "// P99 is better": "", "// an I32: fine": "",
	} {
		got := ""
		if m := commentedCode.FindStringSubmatch(comment); m != nil {
			got = m[1]
		}
		if got != want {
			t.Errorf("%s: %q, want %q", comment, got, want)
		}
	}
}
