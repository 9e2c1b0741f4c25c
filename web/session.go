package web

import (
	"crypto/rand"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/time/rate"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

const (
	sessionCookie = "opensend_session"
	seenEvery     = 5 * time.Minute // a session's last use is written this often at most
	maxAgent      = 200
)

var errNoSession = errors.New("nobody is signed in")

func (d *Dashboard) secure() bool { return strings.HasPrefix(d.cfg.BaseURL, "https:") }

// Invitation makes the link by which the first user sets a password; empty when
// there is a user. A link made before is no longer good.
func (d *Dashboard) Invitation() (link string, err error) {
	secret := rand.Text()
	err = d.cfg.DB.Update(func(tx *storage.Tx) error {
		if link = ""; tx.AnyUser() {
			return nil
		}
		link = d.invitationLink(secret)
		return tx.Invite(secret, &automations.Invitation{CreatedAt: time.Now().UTC()})
	})
	return link, err
}

func (d *Dashboard) invitationLink(secret string) string {
	return d.cfg.BaseURL + home + "/join?" + url.Values{"invitation": {secret}}.Encode()
}

// AddUser makes a user; an error says that the name is another's.
func (d *Dashboard) AddUser(name, password string) error {
	user := &automations.User{ID: uuid.Must(uuid.NewV7()), Name: name, Password: d.hashPassword(password), CreatedAt: time.Now().UTC()}
	return d.cfg.DB.Update(func(tx *storage.Tx) error { return tx.CreateUser(user) })
}

// joinPage is the form that sets a password.
type joinPage struct {
	Invitation string
	Name       string
	Known      bool // the name is given: the password of a user is set anew
}

// invited reads what the invitation of a request is for.
func (v *visit) invited(tx *storage.Tx) (*automations.Invitation, joinPage, error) {
	page := joinPage{Invitation: v.FormValue("invitation")}
	i, err := tx.Invitation(page.Invitation)
	switch {
	case err != nil:
		return nil, page, err
	case i.Over(v.now), i.UserID == automations.ID{} && tx.AnyUser():
		return nil, page, storage.ErrNotFound
	case i.UserID != automations.ID{}:
		u, err := tx.User(i.UserID)
		if err != nil {
			return nil, page, err
		}
		page.Name, page.Known = u.Name, true
	}
	return i, page, nil
}

func (v *visit) join() (any, error) {
	var page joinPage
	err := v.read(func(tx *storage.Tx) (err error) {
		_, page, err = v.invited(tx)
		return err
	})
	return page, badInvitation(err)
}

func badInvitation(err error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return automations.Errorf(automations.KindNotFound, "", "This link is not good any more: it was used, or is older than a day. Restart the server for a new one, or run: opensend users reset NAME")
	}
	return err
}

// accept sets the password that an invitation is for, and signs in.
func (v *visit) acceptInvitation() (any, error) {
	form := joinPage{Invitation: v.PostForm.Get("invitation"), Name: v.PostForm.Get("name")}
	if err := checkPassword(v.PostForm.Get("password"), v.PostForm.Get("again")); err != nil {
		v.read(func(tx *storage.Tx) error {
			if _, page, err := v.invited(tx); err == nil && page.Known {
				form.Name, form.Known = page.Name, true
			}
			return nil
		})
		return refused{form, err}, nil
	}
	hash := v.d.hashPassword(v.PostForm.Get("password"))
	var user *automations.User
	err := v.d.cfg.DB.Update(func(tx *storage.Tx) error {
		i, page, err := v.invited(tx)
		if err != nil {
			return badInvitation(err)
		}
		if user, err = setPassword(tx, i, page, form.Name, hash, v.now); err != nil {
			return err
		}
		return tx.UseInvitation(form.Invitation)
	})
	if p := problemOf(err); p != nil {
		return refused{form, err}, nil
	}
	if err != nil {
		return nil, err
	}
	return redirect{home, "Welcome. This is all there is to set up."}, v.signIn(user)
}

// setPassword makes the first user, or changes a user's password and ends the
// sessions that began with the old one.
func setPassword(tx *storage.Tx, i *automations.Invitation, page joinPage, name, hash string, now time.Time) (*automations.User, error) {
	if page.Known {
		u, err := tx.User(i.UserID)
		if err != nil {
			return nil, err
		}
		u.Password = hash
		return u, errors.Join(tx.EndSessions(u.ID), tx.UpdateUser(u))
	}
	if err := automations.CheckUserName(name); err != nil {
		return nil, err
	}
	u := &automations.User{ID: uuid.Must(uuid.NewV7()), Name: name, Password: hash, CreatedAt: now}
	return u, tx.CreateUser(u)
}

// signInPage is the form that asks for a password.
type signInPage struct {
	Name, To string
	Empty    bool       // nobody has set a password yet
	Sent     bool       // To is where a form was sent to when the session had ended
	Kept     url.Values // that form
	Again    bool       // it can be sent again now
}

func (v *visit) signInForm() (any, error) {
	return v.signInPage(signInPage{To: v.FormValue("to")})
}

func (v *visit) signInPage(page signInPage) (signInPage, error) {
	err := v.read(func(tx *storage.Tx) error {
		page.Empty = !tx.AnyUser()
		return nil
	})
	return page, err
}

func (v *visit) signInWithPassword() (any, error) {
	page := signInPage{Name: v.PostForm.Get("name"), To: v.PostForm.Get("to"), Sent: v.PostForm.Has("sent"), Kept: v.keptForm()}
	if wait := v.d.guesses.wait(v.now, "name "+strings.ToLower(page.Name), "address "+v.address()); wait > 0 {
		err := automations.Errorf(automations.KindRateLimited, "", "there were too many wrong passwords; wait %d seconds and try again", int(wait.Seconds())+1)
		return refused{page, err}, nil
	}
	user := &automations.User{Password: nobody}
	err := v.read(func(tx *storage.Tx) error {
		found, err := tx.UserByName(page.Name)
		if err == nil {
			user = found
		}
		if errors.Is(err, storage.ErrNotFound) {
			return nil
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if !v.d.isPassword(v.PostForm.Get("password"), user.Password) || user.Name == "" {
		v.d.guesses.wrong(v.now, "name "+strings.ToLower(page.Name), "address "+v.address())
		v.d.cfg.Log.Warn("wrong password for the dashboard", "address", v.address())
		return refused{page, automations.Errorf(automations.KindUnauthorized, "", "the name or the password is wrong")}, nil
	}
	if page.To, page.Again = ownPath(page.To), page.Sent; page.Again {
		return page, v.signIn(user)
	}
	return redirect{to: page.To}, v.signIn(user)
}

// ownPath is a path of the dashboard to go on to, whatever was asked for.
func ownPath(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.IsAbs() || u.Host != "" || u.Path != home && !strings.HasPrefix(u.Path, home+"/") {
		return home
	}
	return u.RequestURI()
}

// signIn begins a session, always with a new secret.
func (v *visit) signIn(user *automations.User) error {
	secret := rand.Text()
	err := v.d.cfg.DB.Update(func(tx *storage.Tx) error {
		u, err := tx.User(user.ID)
		if err != nil {
			return err
		}
		u.SignedInAt = v.now
		session := &automations.Session{UserID: u.ID, CreatedAt: v.now, SeenAt: v.now, Agent: shortened(v.UserAgent(), maxAgent)}
		return errors.Join(tx.EndOldSessions(v.now), tx.UpdateUser(u), tx.SaveSession(secret, session))
	})
	if err != nil {
		return err
	}
	v.setSession(secret, int(automations.SessionLife.Seconds()))
	return nil
}

func shortened(text string, most int) string {
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "")
	}
	return text
}

func (v *visit) setSession(secret string, maxAge int) {
	http.SetCookie(v.w, &http.Cookie{
		Name: sessionCookie, Value: secret, Path: home, MaxAge: maxAge, HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: v.d.secure(),
	})
}

// resume finds the user of the request's session; errNoSession when there is
// none.
func (v *visit) resume() error {
	cookie, err := v.Cookie(sessionCookie)
	if err != nil {
		return errNoSession
	}
	v.secret = cookie.Value
	var session *automations.Session
	err = v.read(func(tx *storage.Tx) (err error) {
		if session, err = tx.Session(v.secret); err == nil {
			v.user, err = tx.User(session.UserID)
		}
		return err
	})
	switch {
	case errors.Is(err, storage.ErrNotFound), err == nil && session.Over(v.now):
		return errNoSession
	case err != nil || v.now.Sub(session.SeenAt) < seenEvery:
		return err
	}
	err = v.d.cfg.DB.Update(func(tx *storage.Tx) error {
		s, err := tx.Session(v.secret)
		if err != nil {
			return err
		}
		s.SeenAt = v.now
		return tx.SaveSession(v.secret, s)
	})
	if err != nil { // a file that takes no writes keeps nobody out
		v.d.cfg.Log.Warn("the use of a session was not noted", "error", err)
	}
	return nil
}

func (v *visit) signOut() (any, error) {
	everywhere := v.PostForm.Get("everywhere") != ""
	err := v.d.cfg.DB.Update(func(tx *storage.Tx) error {
		if everywhere {
			return tx.EndSessions(v.user.ID)
		}
		return tx.EndSession(v.secret)
	})
	v.setSession("", -1)
	return redirect{to: home + "/sign-in"}, err
}

// address is where the request comes from.
func (v *visit) address() string {
	host, _, err := net.SplitHostPort(v.RemoteAddr)
	if err != nil {
		return v.RemoteAddr
	}
	return host
}

// guesses slows down whoever tries passwords: by address and by name.
type guesses struct {
	mu   sync.Mutex
	seen map[string]*rate.Limiter
}

const (
	freeGuesses = 10
	guessEvery  = 10 * time.Second // after that
	maxGuessers = 10_000           // beyond it all begin anew
)

func newGuesses() *guesses { return &guesses{seen: map[string]*rate.Limiter{}} }

// wait is how long the next guess must wait; zero when it need not.
func (g *guesses) wait(now time.Time, who ...string) (longest time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, w := range who {
		if l := g.seen[w]; l != nil && l.TokensAt(now) < 1 {
			missing := 1 - l.TokensAt(now)
			longest = max(longest, time.Duration(missing*float64(guessEvery)))
		}
	}
	return longest
}

// wrong counts a wrong guess.
func (g *guesses) wrong(now time.Time, who ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.seen) > maxGuessers {
		clear(g.seen)
	}
	for _, w := range who {
		if g.seen[w] == nil {
			g.seen[w] = rate.NewLimiter(rate.Every(guessEvery), freeGuesses)
		}
		g.seen[w].AllowN(now, 1)
	}
}
