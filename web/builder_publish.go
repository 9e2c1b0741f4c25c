package web

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

func (b *builder) newReview() *review {
	r := &review{Changes: b.now.changesTo(b.draft), Next: b.Revision}
	if !b.sameSteps() {
		r.Next++
	}
	return r
}

func (b *builder) sameSteps() bool {
	return draft{b.now.Definition, nil}.text() == draft{b.draft.Definition, nil}.text()
}

// publish makes the draft what new runs take.
func (b *builder) publish(enable bool) (any, error) {
	if b.Base != b.Revision {
		b.Refusal = fmt.Sprintf("Revision %d was published while you changed revision %d. Look at what would change, and publish again to replace it.", b.Revision, b.Base)
		b.Base, b.Review = b.Revision, b.newReview()
		return nil, nil
	}
	body := map[string]any{"deduplication": b.draft.Deduplication}
	if !b.sameSteps() {
		d := b.draft.withIDsOf(b.now.Definition)
		body["steps"], body["connections"] = d.Steps, d.Connections
		if d.Connections == nil {
			body["connections"] = []string{}
		}
	}
	if enable {
		body["status"] = automations.StatusEnabled
	}
	var saved struct {
		Revision int `json:"revision"`
	}
	err := b.call(http.MethodPatch, "/automations/"+b.ID.String(), body, &saved)
	if p := problemOf(err); p != nil {
		b.Refusal, b.Problems = "Nothing was published: "+p.Message, b.draft.problemsOf(err)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	notice := fmt.Sprintf("Revision %d is published.", saved.Revision)
	if saved.Revision == b.Revision {
		notice = "The steps are as they were; the rest is saved."
	}
	return b.away(redirect{home + "/automations/" + b.ID.String(), notice}), nil
}

// away leads to another page, also where only part of this one was asked for.
func (v *visit) away(to redirect) any {
	if v.Header.Get("HX-Request") == "" {
		return to
	}
	v.setNotice(to.notice)
	v.w.Header().Set("HX-Redirect", to.to)
	return written{}
}

// missing tells of what runs would not find.
func (b *builder) missing(tx *storage.Tx) (list []stepProblem, err error) {
	for _, s := range b.draft.Steps {
		text := settingsOf(s, nil).Text
		from := cmp.Or(text["from"], b.d.cfg.Engine.From())
		if ref := text["template"]; ref != "" {
			t, err := tx.TemplateByRef(ref)
			switch {
			case errors.Is(err, storage.ErrNotFound):
				list = append(list, stepProblem{s.Key, "template", "there is no such template"})
			case err != nil:
				return nil, err
			case t.Published == nil:
				list = append(list, stepProblem{s.Key, "template", "the template is not published"})
			default:
				from = cmp.Or(from, t.Published.From)
			}
		}
		if s.Type == automations.StepSendEmail && from == "" {
			list = append(list, stepProblem{s.Key, "from", "the mail has no sender: set it here, in a template, or for all mail as mail.from in the configuration"})
		}
		if id, ok := automations.ParseID(text["segment_id"]); ok {
			switch _, err := tx.Segment(id); {
			case errors.Is(err, storage.ErrNotFound):
				list = append(list, stepProblem{s.Key, "segment_id", "there is no such segment"})
			case err != nil:
				return nil, err
			}
		}
	}
	return list, nil
}
