package web

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/opensend/opensend/automations"
)

// The cost of a password: about 50 ms and 19 MiB, the least that OWASP advises
// for argon2id. hashesAtOnce bounds what many attempts take together.
const (
	hashMemory   = 19 << 10 // KiB
	hashPasses   = 2
	hashLanes    = 1
	hashLength   = 32
	saltLength   = 16
	hashesAtOnce = 2
)

const (
	minPassword = 10  // characters
	maxPassword = 200 // bytes
)

func checkPassword(password, again string) error {
	switch {
	case len([]rune(password)) < minPassword:
		return automations.Errorf(automations.KindInvalid, "", "the password must have at least %d characters", minPassword)
	case len(password) > maxPassword:
		return automations.Errorf(automations.KindInvalid, "", "the password must have at most %d bytes", maxPassword)
	case password != again:
		return automations.Errorf(automations.KindInvalid, "", "the two passwords differ; type the same one twice")
	}
	return nil
}

// hashPassword makes what is stored of a password, in the usual text form:
// $argon2id$v=19$m=…,t=…,p=…$salt$hash.
func (d *Dashboard) hashPassword(password string) string {
	salt := make([]byte, saltLength)
	rand.Read(salt)
	hash := d.derive(password, salt, hashPasses, hashMemory, hashLanes)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, hashMemory, hashPasses, hashLanes,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(hash))
}

// nobody is the hash that a password is compared with when no user has the
// name, so that the answer takes as long.
const nobody = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// isPassword reports whether a password is the one that was stored.
func (d *Dashboard) isPassword(password, stored string) bool {
	var version, memory, passes, lanes int
	parts := strings.Split(stored, "$")
	if len(parts) != 6 || parts[1] != "argon2id" {
		return false
	}
	if _, err := fmt.Sscanf(parts[2]+" "+parts[3], "v=%d m=%d,t=%d,p=%d", &version, &memory, &passes, &lanes); err != nil || version != argon2.Version {
		return false
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil {
		return false
	}
	hash, err := base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil || len(hash) != hashLength || len(password) > maxPassword {
		return false
	}
	return subtle.ConstantTimeCompare(hash, d.derive(password, salt, passes, memory, lanes)) == 1
}

func (d *Dashboard) derive(password string, salt []byte, passes, memory, lanes int) []byte {
	d.hashing <- struct{}{}
	defer func() { <-d.hashing }()
	return argon2.IDKey([]byte(password), salt, uint32(passes), uint32(memory), uint8(lanes), hashLength)
}
