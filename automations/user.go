package automations

import (
	"strings"
	"time"
	"unicode"
)

// User is somebody who may sign in to the dashboard.
type User struct {
	ID         ID        `json:"id"`
	Name       string    `json:"name"` // unique without case
	Password   string    `json:"password,omitempty"`
	CreatedAt  time.Time `json:"created_at"`
	SignedInAt time.Time `json:"signed_in_at,omitzero"`
}

// MaxUserName is the most characters of a user's name.
const MaxUserName = 100

// CheckUserName reports whether a text can be the name of a user.
func CheckUserName(name string) error {
	switch {
	case strings.TrimSpace(name) == "":
		return Errorf(KindMissing, "", "name is required")
	case name != strings.TrimSpace(name), strings.ContainsFunc(name, unicode.IsControl), len([]rune(name)) > MaxUserName:
		return Errorf(KindInvalid, "", "name must be one line of at most %d characters, without space around it", MaxUserName)
	}
	return nil
}

const (
	// SessionIdle ends a session that was not used for as long.
	SessionIdle = 7 * 24 * time.Hour
	// SessionLife ends every session.
	SessionLife = 30 * 24 * time.Hour
	// InvitationLife is how long an invitation is good.
	InvitationLife = 24 * time.Hour
)

// Session is a browser that is signed in.
type Session struct {
	UserID    ID        `json:"user_id"`
	CreatedAt time.Time `json:"created_at"`
	SeenAt    time.Time `json:"seen_at"`
	Agent     string    `json:"agent,omitempty"` // what the browser calls itself, shortened
}

// Over reports whether the session has ended at now.
func (s *Session) Over(now time.Time) bool {
	return now.Sub(s.CreatedAt) >= SessionLife || now.Sub(s.SeenAt) >= SessionIdle
}

// Invitation is a link, good once, by which somebody sets a password: that of
// a user, or of the first user when it names none.
type Invitation struct {
	UserID    ID        `json:"user_id,omitzero"`
	CreatedAt time.Time `json:"created_at"`
}

// Over reports whether the invitation is no longer good at now.
func (i *Invitation) Over(now time.Time) bool { return now.Sub(i.CreatedAt) >= InvitationLife }
