// Command opensend is event-driven e-mail automation in one process over one
// data file.
package main

import (
	"os"

	"github.com/opensend/opensend/cmd"
)

func main() { os.Exit(cmd.Main()) }
