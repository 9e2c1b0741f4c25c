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
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: logged}
	f, isFile := w.(*os.File)
	if cfg.Format == "json" || cfg.Format == "auto" && !(isFile && term.IsTerminal(int(f.Fd()))) {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// logged is how a value stands in the log, as text and as JSON: a duration with its
// unit, such as 1m30.5s, where JSON would have bare nanoseconds.
func logged(groups []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		return slog.String(a.Key, a.Value.Duration().String())
	}
	return withoutAddresses(groups, a)
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
