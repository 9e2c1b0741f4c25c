package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// callKind is what a recorded system call does.
type callKind int

const (
	callWrite    callKind = iota // to the data file
	callSync                     // of the data file
	callTruncate                 // of the data file, to offset bytes
	callAnswer                   // to a client
)

// call is one system call, in the order in which they began.
type call struct {
	kind   callKind
	offset int64
	data   []byte
	ended  int // calls begun before it ended
}

var (
	begun   = regexp.MustCompile(`^(\d+)\s+(pwrite64|write|fdatasync|fsync|ftruncate)\((\d+)<([^>]*)>(?:, "((?:\\x[0-9a-f]{2})*)")?(?:, (\d+))?(?:, (\d+))?`)
	resumed = regexp.MustCompile(`^(\d+)\s+<\.\.\. \w+ resumed>.*\) += -?\d+`)
	inHex   = regexp.MustCompile(`^(\\x[0-9a-f]{2})+$`)
	// an answer that acknowledges an event
	acknowledgement = regexp.MustCompile(`"delivery":\{"object":"event_delivery","id":"([0-9a-f-]{36})"`)
)

// readTrace reads what strace recorded of the data file and of answers.
func readTrace(path, data string) (calls []call, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	open := map[string]int{} // the call each thread is in
	lines := bufio.NewReaderSize(f, 1<<20)
	for {
		line, err := lines.ReadString('\n')
		if line == "" && err != nil {
			break
		}
		if m := resumed.FindStringSubmatch(line); m != nil {
			if i, ok := open[m[1]]; ok {
				calls[i].ended = len(calls) - 1
				delete(open, m[1])
			}
			continue
		}
		m := begun.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		c, ok := parseCall(m[2], plain(m[4]), m[5], m[6], m[7], data)
		if !ok {
			continue
		}
		calls = append(calls, c)
		last := &calls[len(calls)-1]
		if last.ended = len(calls) - 1; strings.Contains(line, "<unfinished ...>") {
			last.ended = int(^uint(0) >> 1) // not yet
			open[m[1]] = len(calls) - 1
		}
	}
	if len(calls) == 0 {
		return nil, errors.New("nothing was recorded")
	}
	return calls, nil
}

func parseCall(name, file, text, first, second, data string) (c call, ok bool) {
	c.data = unhex(text)
	ours := file == data
	switch {
	case name == "pwrite64" && ours:
		c.kind = callWrite
		c.offset, _ = strconv.ParseInt(second, 10, 64)
		return c, true
	case (name == "fdatasync" || name == "fsync") && ours:
		c.kind = callSync
		return c, true
	case name == "ftruncate" && ours:
		c.kind = callTruncate
		c.offset, _ = strconv.ParseInt(first, 10, 64)
		return c, true
	case name == "write" && bytes.HasPrefix(c.data, []byte("HTTP/1.1 202")):
		c.kind = callAnswer
		return c, true
	}
	return c, false
}

// plain undoes the hexadecimal form that strace may give a file name.
func plain(name string) string {
	if inHex.MatchString(name) {
		return string(unhex(name))
	}
	return name
}

func unhex(text string) []byte {
	raw, err := hex.DecodeString(strings.ReplaceAll(text, `\x`, ""))
	if err != nil {
		return nil
	}
	return raw
}

// answeredBefore names the deliveries whose acknowledgement had begun to leave.
func answeredBefore(calls []call, cut int) (ids []string) {
	for _, c := range calls[:cut] {
		if c.kind != callAnswer {
			continue
		}
		if m := acknowledgement.FindSubmatch(c.data); m != nil {
			ids = append(ids, string(m[1]))
		}
	}
	return ids
}
