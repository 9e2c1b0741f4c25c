package web

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// usersPage is those who may sign in.
type usersPage struct {
	Users    []*automations.User
	Sessions int // of the user who looks
	Made     *invited
	Name     string // as it was typed
}

// invited is somebody with a link to set a password.
type invited struct {
	Name string `json:"name"`
	Path string `json:"invitation_path"`
	Link string `json:"-"`
	Anew bool   `json:"-"` // has had a password before
}

// maxUsers is how many are shown.
const maxUsers = 500

func (v *visit) users() (any, error) { return v.usersPage("") }

func (v *visit) usersPage(name string) (page usersPage, err error) {
	page.Name = name
	err = v.read(func(tx *storage.Tx) (err error) {
		if page.Users, _, err = tx.Users(storage.Page{Limit: maxUsers}); err != nil {
			return err
		}
		page.Sessions, err = tx.SessionsOf(v.user.ID, v.now)
		return err
	})
	slices.SortFunc(page.Users, func(a, b *automations.User) int { return cmp.Compare(a.Name, b.Name) })
	return page, err
}

func (v *visit) inviteUser() (any, error) {
	return v.invite(map[string]any{"name": v.PostForm.Get("name"), "new": true})
}

func (v *visit) resetUser() (any, error) {
	return v.invite(map[string]any{"name": v.PostForm.Get("name")})
}

// invite shows the link on the page that answers: only a hash of it is kept.
func (v *visit) invite(in map[string]any) (any, error) {
	var made invited
	refusal := v.call(http.MethodPost, "/control/users", in, &made)
	page, err := v.usersPage("")
	switch {
	case err != nil:
		return nil, err
	case problemOf(refusal) != nil:
		page.Name = v.PostForm.Get("name")
		return refused{page, refusal}, nil
	case refusal != nil:
		return nil, refusal
	}
	made.Link, made.Anew = v.d.cfg.BaseURL+made.Path, in["new"] == nil
	page.Made = &made
	return page, nil
}

// removeUser removes somebody else: whoever is alone must not lock everybody
// out.
func (v *visit) removeUser() (any, error) {
	name := v.PostForm.Get("name")
	if name == v.user.Name {
		page, err := v.usersPage("")
		return refused{page, automations.Errorf(automations.KindConflict, "", "you cannot remove yourself; another user can, or on the server: opensend users remove NAME")}, err
	}
	err := v.call(http.MethodDelete, "/control/users/"+url.PathEscape(name), nil, nil)
	if problemOf(err) == nil {
		return redirect{home + "/system/users", name + " was removed and signed out."}, err
	}
	page, readErr := v.usersPage("")
	if readErr != nil {
		return nil, readErr
	}
	return refused{page, err}, nil
}

// change is what the visit does, for the log of changes: only for what does not
// go through the API, which notes it.
func (v *visit) change() *automations.Change {
	return &automations.Change{
		ID: uuid.Must(uuid.NewV7()), At: v.now, By: "user " + v.user.Name, Method: v.Method, Route: v.URL.Path, Path: v.URL.Path,
	}
}

// changePassword sets the user's own password, ends all sessions and begins a
// new one here.
func (v *visit) changePassword() (any, error) {
	page, err := v.usersPage("")
	if err != nil {
		return nil, err
	}
	who := "name " + v.user.Name
	if wait := v.d.guesses.wait(v.now, who); wait > 0 {
		return refused{page, automations.Errorf(automations.KindRateLimited, "", "there were too many wrong passwords; wait %d seconds and try again", int(wait.Seconds())+1)}, nil
	}
	if !v.d.isPassword(v.PostForm.Get("old"), v.user.Password) {
		v.d.guesses.wrong(v.now, who)
		return refused{page, automations.Errorf(automations.KindUnauthorized, "", "the present password is another; sign out and ask for a reset if it is forgotten")}, nil
	}
	if err := checkPassword(v.PostForm.Get("password"), v.PostForm.Get("again")); err != nil {
		return refused{page, err}, nil
	}
	hash := v.d.hashPassword(v.PostForm.Get("password"))
	err = v.d.cfg.DB.Update(func(tx *storage.Tx) error {
		u, err := tx.User(v.user.ID)
		if err != nil {
			return err
		}
		u.Password = hash
		return errors.Join(tx.UpdateUser(u), tx.EndSessions(u.ID), tx.AddChange(v.change()))
	})
	if err != nil {
		return nil, err
	}
	return redirect{home + "/system/users", "The password is changed, and every other browser of yours is signed out."}, v.signIn(v.user)
}
