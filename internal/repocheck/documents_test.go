package repocheck

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// maxReadmeWords is how long the door may be: tables, code and links included, but for the programs to paste.
const maxReadmeWords = 1100

func TestTheReadmeStaysShort(t *testing.T) {
	doc := document{"README.md", readDocument(t, "README.md")}
	words := len(strings.Fields(doc.text))
	for _, b := range doc.codeBlocks() {
		if strings.HasPrefix(b.code, "package main\n") {
			words -= len(strings.Fields(b.code))
		}
	}
	if words > maxReadmeWords || words < 300 {
		t.Errorf("README.md has %d words, %d are the most: move what goes on into docs/", words, maxReadmeWords)
	}
}

func TestTheRootHasOnlyTheDocumentsThatOneLooksForThere(t *testing.T) {
	found, err := filepath.Glob(filepath.Join(root, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range found {
		found[i] = filepath.Base(found[i])
	}
	if want := []string{"CHANGELOG.md", "CONTRIBUTING.md", "README.md"}; !slices.Equal(found, want) {
		t.Errorf("the root has %q, want %q: others belong into docs/", found, want)
	}
}

func TestEachDocumentOpensWithItsReaders(t *testing.T) {
	found, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(found) < 8 {
		t.Fatalf("found %q, %v: the search is broken", found, err)
	}
	for _, path := range found {
		name, _ := filepath.Rel(root, path)
		parts := strings.SplitN(readDocument(t, name), "\n\n", 3)
		if len(parts) < 3 || !strings.HasPrefix(parts[0], "# ") || !strings.HasPrefix(parts[1], "For who") {
			t.Errorf("%s does not open with a title and with whom it is for", name)
		}
	}
}
