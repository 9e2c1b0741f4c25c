// Package cmd is the command line: commands, configuration, and the wiring of
// the server. It alone knows flags, environment and signals.
package cmd

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// Exit codes.
const (
	exitFailed   = 1
	exitUsage    = 2
	exitInUse    = 4  // another process holds the data file
	exitStorage  = 70 // the data file failed; a supervisor should start the program again
	exitTryLater = 75 // a mail server should pipe the message again later
)

// app is the program's surroundings, so that tests can stand in for them.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	environ        func() []string // NAME=VALUE each
	configPath     string
	json           bool // print data as JSON
}

// Main runs the command line and returns the exit code.
func Main() int {
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv, environ: os.Environ}
	return a.run(os.Args[1:])
}

func (a *app) run(args []string) int {
	root := newRoot(a)
	root.SetArgs(args)
	err := root.Execute()
	if err == nil {
		return 0
	}
	fmt.Fprintf(a.stderr, "opensend: %s\n", err)
	if e, ok := errors.AsType[*exitError](err); ok {
		if e.hint != "" {
			fmt.Fprintf(a.stderr, "Try: %s\n", e.hint)
		}
		return e.code
	}
	if _, ok := errors.AsType[*storage.InUseError](err); ok {
		return exitInUse
	}
	if errors.Is(err, storage.ErrFailed) {
		return exitStorage
	}
	return exitFailed
}

// exitError is an error with the exit code and the command that helps.
type exitError struct {
	code int
	err  error
	hint string
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func usage(cmd *cobra.Command, format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...), cmd.CommandPath() + " --help"}
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "opensend",
		Short: "Event-driven e-mail automation: one program, one data file",
		Long: `opensend receives events from your application, runs automations on them and
sends the mail. It needs nothing beside itself and one data file.`,
		Version:       version,
		Example:       "  opensend demo\n  opensend serve\n  opensend apikeys create --name app --permission events_access",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.PersistentFlags().Var((*fileName)(&a.configPath), "config", "configuration `file` (default ./config.yaml if it exists)")
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(
		newServe(a), newDemo(a), newInit(a), newAPIKeys(a), newContacts(a), newAutomations(a), newEvents(a), newEmails(a), newMail(a), newTemplates(a), newUsers(a), newWebhooks(a), newDKIM(a),
		newExport(a), newImport(a), newBackup(a), newRestore(a), newResume(a), newCheck(a), newCompact(a), newStorage(a), newDoctor(a), newConfig(a), newVersion(a), newMan(a),
	)
	root.SetVersionTemplate(currentVersion().line())
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	completionHelp(root)
	strict(root)
	strictHelp(root)
	return root
}

// completionHelp says where each shell looks for completions.
func completionHelp(root *cobra.Command) {
	examples := map[string]string{
		"completion": "opensend completion bash > /etc/bash_completion.d/opensend",
		"bash":       "opensend completion bash > /etc/bash_completion.d/opensend",
		"zsh":        "opensend completion zsh > /usr/local/share/zsh/site-functions/_opensend",
		"fish":       "opensend completion fish > ~/.config/fish/completions/opensend.fish",
		"powershell": "opensend completion powershell >> $PROFILE",
	}
	group, _, err := root.Find([]string{"completion"})
	if err != nil {
		return
	}
	group.Example = "  " + examples[group.Name()]
	for _, cmd := range group.Commands() {
		cmd.Example = "  " + examples[cmd.Name()]
		cmd.Long = fmt.Sprintf("Print the script by which %s completes commands and flags. It works in new shells,\nonce it is where %[1]s looks for it.", cmd.Name())
	}
}

// flagError says what a flag takes, and names the one that was probably meant.
func flagError(cmd *cobra.Command, err error) error {
	if wrong, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		takes := map[string]string{"int": "a whole number", "bool": "true or false", "file": "the name of a file"}[wrong.GetFlag().Value.Type()]
		return usage(cmd, "--%s takes %s; it got %q", wrong.GetFlag().Name, takes, wrong.GetValue())
	}
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		return usage(cmd, "%w", err)
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	if near := automations.Nearest(unknown.GetSpecifiedName(), names); near != "" {
		return usage(cmd, "%w; did you mean --%s?", err, near)
	}
	return usage(cmd, "%w", err)
}

// fileName is a flag that is not empty when it is given: a variable of the shell
// that is not set must not stand for the default.
type fileName string

func (f *fileName) String() string { return string(*f) }
func (f *fileName) Type() string   { return "file" }

func (f *fileName) Set(s string) error {
	if s == "" {
		return errors.New("it is empty")
	}
	*f = fileName(s)
	return nil
}

// strict makes every group refuse a word that is none of its commands: cobra
// would print the help and exit with 0. It also counts arguments itself, to
// exit with 2, and refuses empty ones.
func strict(cmd *cobra.Command) {
	if cmd.HasSubCommands() {
		cmd.Args = cobra.ArbitraryArgs
		run := cmd.RunE
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) > 0:
				return noCommand(cmd, args[0])
			case run != nil:
				return run(cmd, args)
			}
			return cmd.Help()
		}
	} else if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			switch {
			case check(cmd, args) == nil && slices.Contains(args, ""):
				return usage(cmd, "an argument is empty; write it as: %s", cmd.UseLine())
			case check(cmd, args) == nil:
				return nil
			case check(cmd, nil) == nil && check(cmd, args[:1]) != nil:
				return usage(cmd, "%s takes no arguments; it got %q", cmd.CommandPath(), args[0])
			case len(args) == 0:
				return usage(cmd, "something is missing; write it as: %s", cmd.UseLine())
			}
			return usage(cmd, "it got %s; write it as: %s", plural(len(args), "argument"), cmd.UseLine())
		}
	}
	for _, sub := range cmd.Commands() {
		strict(sub)
	}
}

// strictHelp makes help refuse the name of no command, too.
func strictHelp(root *cobra.Command) {
	help, _, err := root.Find([]string{"help"})
	if err != nil {
		return
	}
	help.RunE = func(_ *cobra.Command, args []string) error {
		cmd, rest, err := root.Find(args)
		if err == nil && len(rest) > 0 {
			err = noCommand(cmd, rest[0])
		}
		if err != nil {
			return err
		}
		return cmd.Help()
	}
}

// noCommand names the command of the group that was probably meant.
func noCommand(cmd *cobra.Command, word string) error {
	var names []string
	for _, sub := range cmd.Commands() {
		names = append(names, sub.Name())
	}
	if near := automations.Nearest(word, names); near != "" {
		return usage(cmd, "%q is not a command of %s; did you mean %s?", word, cmd.CommandPath(), near)
	}
	return usage(cmd, "%q is not a command of %s", word, cmd.CommandPath())
}

// config loads the configuration; what is wrong with it is a usage error.
func (a *app) config() (Config, error) {
	cfg, _, err := a.configFrom()
	return cfg, err
}

// configFrom is config that also tells where the values come from.
func (a *app) configFrom() (Config, origins, error) {
	for _, pair := range a.environ() { // whose links would lead to this machine
		name, value, _ := strings.Cut(pair, "=")
		if value != "" && name != baseURLVariable && automations.Nearest(name, []string{baseURLVariable}) != "" {
			return Config{}, nil, configError(fmt.Errorf("the environment variable %s is not looked at; write %s", name, baseURLVariable))
		}
	}
	cfg, from, err := loadConfig(a.configPath, a.getenv)
	if err != nil {
		return cfg, from, configError(errors.New(from.place(cmp.Or(a.configPath, configFile), err)))
	}
	return cfg, from, nil
}

func configError(err error) error {
	return &exitError{exitUsage, errors.New(strings.ReplaceAll(err.Error(), "\n", "; ")), ""}
}

func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// jsonFlag gives a command that prints data the flag --json.
func (a *app) jsonFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON")
}
