package ends

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/libnet-go/libnet/internal/testkit"
)

var update = flag.Bool("update", false, "write the table into docs/ends.md")

const (
	documentFile = "../../../docs/ends.md"
	tableBegins  = "<!-- The table is that of internal/tests/ends; go test ./internal/tests/ends -update writes it. -->\n"
	tableEnds    = "<!-- end of the table -->\n"
)

func TestTheDocumentHasTheTable(t *testing.T) {
	file, err := os.ReadFile(documentFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(file), tableBegins)
	is, after, closed := strings.Cut(rest, tableEnds)
	if !found || !closed {
		t.Fatal("the document has no place for the table")
	}
	want := markdown()
	if is == want {
		return
	}
	if !*update {
		t.Fatal("the document's table differs: run with -update")
	}
	if err := os.WriteFile(documentFile, []byte(before+tableBegins+want+tableEnds+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func markdown() string {
	var b strings.Builder
	b.WriteString("| who ends it | `CloseReason` | messages that had arrived | messages that `Send` had taken | the peer sees | close code |\n|---|---|---|---|---|---|\n")
	for _, e := range table {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", e.who, strings.ReplaceAll(e.reasons, " ", " or "), e.received, e.sent, e.peer, e.closeCode())
	}
	return b.String()
}

func (e *end) closeCode() string {
	switch e.code {
	case 0:
		return "–"
	case testkit.NoCode:
		return "its own"
	}
	return strconv.Itoa(int(e.code))
}
