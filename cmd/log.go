package cmd

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"

	"golang.org/x/term"
)

// newLog makes the log that the configuration asks for.
func newLog(cfg LogConfig, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: withoutAddresses}
	f, isFile := w.(*os.File)
	if cfg.Format == "json" || cfg.Format == "auto" && !(isFile && term.IsTerminal(int(f.Fd()))) {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// mailAddress finds whatever may be an address, in the words of mail servers too.
var mailAddress = regexp.MustCompile(`[^\s<>"'(),;:=]+@[^\s<>"'(),;:=]+`)

// withoutAddresses keeps addresses out of the log, at every level: mail servers
// repeat them in what they answer. The stack of a panic is left as it is: it has
// the versions of libraries behind an @.
func withoutAddresses(_ []string, a slog.Attr) slog.Attr {
	text := ""
	switch v := a.Value.Any().(type) {
	case string:
		text = v
	case error:
		text = v.Error()
	case fmt.Stringer:
		text = v.String()
	}
	if a.Key != "stack" && mailAddress.MatchString(text) {
		a.Value = slog.StringValue(mailAddress.ReplaceAllString(text, "[address]"))
	}
	return a
}
