package main

import (
	"fmt"
	"os"
	"strings"
)

// secret reads what nobody else on this machine should see, and which therefore is no argument: the first of a file,
// whose name an option gave, and a variable of the environment. Neither there, it is "".
func secret(file, variable string) (string, error) {
	if file == "" {
		return os.Getenv(variable), nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	if len(strings.TrimSpace(string(text))) == 0 {
		return "", fmt.Errorf("%s is empty", file)
	}
	return strings.TrimSpace(string(text)), nil
}

// warnOfArgument tells the operator of a secret that ps shows to everybody.
func (f *flags) warnOfArgument(flag, instead string) {
	fmt.Fprintf(f.std.err, "im: everybody on this machine can read the secret in %s: use %s\n", flag, instead)
}
