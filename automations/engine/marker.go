package engine

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/mail"
)

// markers is a small file beside the data file that says how far each worker
// has come with the mail in its hands. It is written without fsync: it outlives
// the process, not the machine, and so it says for which boot of the machine it
// holds. With it a killed process leaves in doubt only the mail whose final dot
// was sent and not answered.
//
// Layout: 36 bytes that name the boot, then for each worker the id of the mail
// (16 bytes), the number of the attempt (4 bytes, big-endian) and a mail.Stage
// (1 byte, zero at first).
type markers struct {
	file *os.File // nil when it cannot be written: then every mail in hand is in doubt
	log  func(msg string, args ...any)
}

const (
	bootBytes   = 36
	markerBytes = 21
)

// sending is one attempt to send a mail.
type sending struct {
	id      automations.ID
	attempt uint32
}

// openMarkers sorts out what the process before has left in hand, and begins
// the file anew.
func (e *Engine) openMarkers() (*markers, error) {
	path := e.db.Path() + ".sending"
	boot := bootID()
	if err := e.recoverSending(readMarkers(path, boot)); err != nil {
		return nil, err
	}
	m := &markers{log: e.log.Warn}
	if e.cfg.Sender == nil {
		return m, nil
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err == nil {
		_, err = file.WriteAt([]byte(boot), 0)
	}
	if err != nil {
		e.log.Warn("mail in hand is not marked; if the program is killed all of it will be unconfirmed", "file", path, "error", err)
		return m, nil
	}
	m.file = file
	return m, nil
}

// Close leaves the file for the next start: after a failure of the data file
// it tells what became of the mail in hand.
func (m *markers) Close() {
	if m.file != nil {
		m.file.Close()
	}
}

func (m *markers) slot(i int) *marker { return &marker{all: m, at: bootBytes + int64(i)*markerBytes} }

// marker is the place of one worker.
type marker struct {
	all *markers
	at  int64
}

// begin says that the attempt is about to be made.
func (m *marker) begin(id automations.ID, attempt int) {
	m.write(m.at, binary.BigEndian.AppendUint32(id[:], uint32(attempt)), []byte{0})
}

// mark says how far it has come.
func (m *marker) mark(stage mail.Stage) { m.write(m.at+markerBytes-1, []byte{byte(stage)}) }

func (m *marker) write(at int64, parts ...[]byte) {
	if m.all.file == nil {
		return
	}
	if _, err := m.all.file.WriteAt(bytes.Join(parts, nil), at); err != nil {
		m.all.log("mail in hand could not be marked", "error", err)
	}
}

// readMarkers reads what was marked since the machine was started.
func readMarkers(path, boot string) map[sending]mail.Stage {
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer file.Close()
	head := make([]byte, bootBytes)
	if _, err := io.ReadFull(file, head); err != nil || string(head) != boot || boot == unknownBoot {
		return nil
	}
	known := map[sending]mail.Stage{}
	row := make([]byte, markerBytes)
	for {
		if _, err := io.ReadFull(file, row); err != nil {
			return known
		}
		known[sending{automations.ID(row[:16]), binary.BigEndian.Uint32(row[16:])}] = mail.Stage(row[20])
	}
}

// unknownBoot stands where the system does not name its boots: then nothing
// that was marked is believed.
var unknownBoot = strings.Repeat("-", bootBytes)

// bootID names the time since the machine was started.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || len(id) < bootBytes {
		return unknownBoot
	}
	return fmt.Sprintf("%.36s", id)
}
