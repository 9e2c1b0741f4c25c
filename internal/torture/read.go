package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// readCommand makes this program read a data file, hold it to the claim on its
// standard input, and print what it found.
const readCommand = "-read"

// hold reads a data file in a process of its own, which a damaged file may
// end. An error says that the file cannot be read.
func (r *rig) hold(path string, c claim) (found result, err error) {
	if r.reader == "" {
		if r.reader, err = r.build("reader", "./internal/torture"); err != nil {
			return found, err
		}
	}
	text, err := json.Marshal(c)
	if err != nil {
		return found, err
	}
	cmd := exec.Command(r.reader, readCommand, path)
	cmd.Stdin = bytes.NewReader(text)
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return found, fmt.Errorf("it cannot be read: %.300s", exit.Stderr)
	}
	if err != nil {
		return found, err
	}
	return found, json.Unmarshal(out, &found)
}

// read is the other side of hold.
func read(path string, stdin io.Reader, stdout io.Writer) (exitCode int) {
	found, err := readFile(path, stdin)
	if err == nil {
		err = json.NewEncoder(stdout).Encode(found)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func readFile(path string, stdin io.Reader) (found result, err error) {
	var c claim
	if err := json.NewDecoder(stdin).Decode(&c); err != nil {
		return found, err
	}
	db, err := storage.Open(filepath.Clean(path))
	if err != nil {
		return found, err
	}
	defer db.Close()
	err = db.View(func(tx *storage.Tx) error {
		if found, err = c.compare(tx); err != nil {
			return err
		}
		found.Digest, err = digest(tx)
		return err
	})
	return found, err
}

// digest is a sum over the events of a file, their contacts and their runs.
func digest(tx *storage.Tx) (string, error) {
	var deliveries []*automations.Delivery
	if err := eachDelivery(tx, func(d *automations.Delivery) { deliveries = append(deliveries, d) }); err != nil {
		return "", err
	}
	sum := sha256.New()
	records := json.NewEncoder(sum)
	for _, d := range deliveries {
		contact, err := tx.Contact(d.ContactID)
		if err := errors.Join(err, records.Encode(d), records.Encode(contact)); err != nil {
			return "", err
		}
		for _, v := range d.Verdicts {
			run, err := tx.Run(automations.RunRef{WorkflowID: v.WorkflowID, RunID: v.RunID})
			if err != nil {
				return "", err
			}
			if err := records.Encode(run.Run); err != nil {
				return "", err
			}
		}
	}
	return fmt.Sprintf("%x", sum.Sum(nil)), nil
}
