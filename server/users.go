package server

import (
	"crypto/rand"
	"errors"
	"net/url"
	"time"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// wireUser is somebody who may sign in to the dashboard.
type wireUser struct {
	Object     string         `json:"object"`
	ID         automations.ID `json:"id"`
	Name       string         `json:"name"`
	CreatedAt  wireTime       `json:"created_at"`
	SignedInAt wireTime       `json:"signed_in_at"`
	// InvitationPath is where a password is set, once and within a day, below
	// the base URL; only when it has just been made.
	InvitationPath string `json:"invitation_path,omitempty"`
}

func renderUser(u *automations.User) wireUser {
	return wireUser{Object: "user", ID: u.ID, Name: u.Name, CreatedAt: wireTime(u.CreatedAt), SignedInAt: wireTime(u.SignedInAt)}
}

func (s *Server) controlUsers(r *request) (answer, error) {
	return respondList(r, func(tx *storage.Tx, page storage.Page) ([]*automations.User, storage.Rest, error) {
		return tx.Users(page)
	}, renderUser)
}

// controlInvite makes a user without a password, or takes the one who has the
// name, and invites it to set one. The sessions it has go on until then.
func (s *Server) controlInvite(r *request) (answer, error) {
	f, err := r.fields()
	if err != nil {
		return answer{}, err
	}
	var p automations.Problems
	f.Unknown(&p, "name", "new")
	name := f.String(&p, "name")
	isNew := f.Bool(&p, "new") != nil
	p.Include("name", automations.CheckUserName(name))
	if err := p.Err(); err != nil {
		return answer{}, err
	}
	secret := rand.Text()
	var user *automations.User
	err = r.update(func(tx *storage.Tx) (err error) {
		user, err = tx.UserByName(name)
		switch {
		case errors.Is(err, storage.ErrNotFound) && isNew:
			user = &automations.User{ID: uuid.Must(uuid.NewV7()), Name: name, CreatedAt: r.now}
			err = tx.CreateUser(user)
		case errors.Is(err, storage.ErrNotFound):
			err = notFound("user", name)
		case err == nil && isNew:
			err = automations.Errorf(automations.KindConflict, "user_name_taken", "there is a user %q; use another name, or reset that user's password", name)
		}
		if err != nil {
			return err
		}
		return tx.Invite(secret, &automations.Invitation{UserID: user.ID, CreatedAt: time.Now().UTC()})
	})
	if err != nil {
		return answer{}, err
	}
	w := renderUser(user)
	w.InvitationPath = "/dashboard/join?" + url.Values{"invitation": {secret}}.Encode()
	return created(w)
}

// controlRemoveUser removes a user and ends its sessions.
func (s *Server) controlRemoveUser(r *request) (answer, error) {
	var id automations.ID
	err := r.update(func(tx *storage.Tx) error {
		user, err := tx.UserByName(r.PathValue("name"))
		if err != nil {
			return orNotFound(err, "user", r.PathValue("name"))
		}
		id = user.ID
		return tx.DeleteUser(id)
	})
	if err != nil {
		return answer{}, err
	}
	return ok(deleted{Object: "user", ID: id, Deleted: true})
}
