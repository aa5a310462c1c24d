package wstest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/libnet-go/libnet/resume/web"
)

// TypeScript's compiler takes a program that uses what resume.d.ts promises, and refuses what it must not.
func TestTypeScriptTakesThePagesTypesAsTheyAreMeant(t *testing.T) {
	node := program(t, "node", "nodejs")
	compiler, err := filepath.Abs("node_modules/typescript/bin/tsc")
	if err == nil {
		_, err = os.Stat(compiler)
	}
	if err != nil {
		missing(t, "node_modules: run npm ci")
	}
	use, err := os.ReadFile("testdata/types.mts")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string]string{"resume.js": web.JS, "resume.d.ts": web.Types, "use.mts": string(use)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := exec.Command(node, compiler, "--strict", "--exactOptionalPropertyTypes", "--noEmit", "--skipDefaultLibCheck", "--target", "es2022", "--module", "nodenext",
		"--lib", "es2022,dom", "use.mts", "resume.d.ts")
	check.Dir = dir
	if output, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}
