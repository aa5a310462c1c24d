package repocheck

import (
	"go/ast"
	"path"
	"regexp"
	"slices"
	"testing"
)

// A file that a comment sends its reader to: a name, without a path or with one.
var commentFilePattern = regexp.MustCompile(`(?:^|[\s("])([\w/-]+\.go)\b`)

// foreignCommentFiles are named in comments and not ours.
var foreignCommentFiles = []string{
	"nats-server/server/raft.go",
	"file.go", "/path/file.go", // of an example
}

func TestFilesThatCommentsNameExist(t *testing.T) {
	known := make(map[string]bool)
	eachFile(t, func(file string) { known[path.Base(file)] = true })
	found := 0
	eachGoFile(t, func(name string, file *ast.File) {
		for _, group := range file.Comments {
			for _, m := range commentFilePattern.FindAllStringSubmatch(group.Text(), -1) {
				if found++; !known[path.Base(m[1])] && !slices.Contains(foreignCommentFiles, m[1]) {
					t.Errorf("%s: a comment names %s, which there is not", name, m[1])
				}
			}
		}
	})
	if found < 20 {
		t.Errorf("comments name %d files: the search is broken", found)
	}
}
