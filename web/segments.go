package web

import (
	"net/http"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// countedMembers is how far the members of a segment are counted.
const countedMembers = 5000

// segmentsPage is a page of segments.
type segmentsPage struct {
	Rows  []countedSegment
	Older string
	Name  string // of a new one, as it was typed
}

type countedSegment struct {
	*automations.Segment
	Members int
	Bounded bool // there are more
}

func (v *visit) segments() (any, error) { return v.segmentsPage("") }

func (v *visit) segmentsPage(name string) (page segmentsPage, err error) {
	page.Name = name
	err = v.read(func(tx *storage.Tx) error {
		list, err := readList(v, tx.Segments, func(s *automations.Segment) automations.ID { return s.ID })
		for _, s := range list.Rows {
			n := tx.SegmentSize(s.ID, countedMembers)
			page.Rows = append(page.Rows, countedSegment{s, n, n == countedMembers})
		}
		page.Older = v.olderThan("/contacts/segments", list.Older)
		return err
	})
	return page, err
}

func (v *visit) createSegment() (any, error) {
	name := v.PostForm.Get("name")
	err := v.call(http.MethodPost, "/segments", map[string]string{"name": name}, nil)
	return orAgain(err, redirect{home + "/contacts/segments", "The segment is made."}, func() (segmentsPage, error) { return v.segmentsPage(name) })
}

// changeSegment renames or deletes a segment.
func (v *visit) changeSegment() (any, error) {
	path, done := "/segments/"+esc(v.PathValue("id")), redirect{home + "/contacts/segments", "Renamed."}
	again := func() (segmentsPage, error) { return v.segmentsPage("") }
	switch v.PathValue("change") {
	case "rename":
		return orAgain(v.call(http.MethodPatch, path, map[string]string{"name": v.PostForm.Get("name")}, nil), done, again)
	case "delete":
		done.notice = "The segment is deleted. Its contacts are still there."
		return orAgain(v.call(http.MethodDelete, path, nil, nil), done, again)
	}
	return nil, storage.ErrNotFound
}

// topicsPage is a page of topics, with what contacts chose.
type topicsPage struct {
	Rows    []countedTopic
	Older   string
	Bounded bool // older contacts were not counted
	Form    topicForm
}

type countedTopic struct {
	*automations.Topic
	In, Out int
}

// topicForm is a new topic as it is typed.
type topicForm struct{ Name, Description, Default string }

func (v *visit) topics() (any, error) {
	return v.topicsPage(topicForm{Default: string(automations.OptIn)})
}

func (v *visit) topicsPage(form topicForm) (page topicsPage, err error) {
	page.Form = form
	err = v.read(func(tx *storage.Tx) error {
		list, err := readList(v, tx.Topics, func(t *automations.Topic) automations.ID { return t.ID })
		if err != nil || len(list.Rows) == 0 {
			return err
		}
		counts, bounded, err := tx.Choices()
		for _, t := range list.Rows {
			page.Rows = append(page.Rows, countedTopic{t, counts[t.ID][automations.OptIn], counts[t.ID][automations.OptOut]})
		}
		page.Bounded, page.Older = bounded, v.olderThan("/contacts/topics", list.Older)
		return err
	})
	return page, err
}

func (v *visit) createTopic() (any, error) {
	form := topicForm{v.PostForm.Get("name"), v.PostForm.Get("description"), v.PostForm.Get("default")}
	err := v.call(http.MethodPost, "/topics", map[string]string{"name": form.Name, "description": form.Description, "default_subscription": form.Default}, nil)
	return orAgain(err, redirect{home + "/contacts/topics", "The topic is made."}, func() (topicsPage, error) { return v.topicsPage(form) })
}

// changeTopic changes the words of a topic, or deletes it.
func (v *visit) changeTopic() (any, error) {
	path, done := "/topics/"+esc(v.PathValue("id")), redirect{home + "/contacts/topics", "Saved."}
	again := func() (topicsPage, error) { return v.topicsPage(topicForm{Default: string(automations.OptIn)}) }
	switch v.PathValue("change") {
	case "rename":
		in := map[string]string{"name": v.PostForm.Get("name"), "description": v.PostForm.Get("description")}
		return orAgain(v.call(http.MethodPatch, path, in, nil), done, again)
	case "delete":
		done.notice = "The topic is deleted. What contacts chose for it means nothing from now on."
		return orAgain(v.call(http.MethodDelete, path, nil, nil), done, again)
	}
	return nil, storage.ErrNotFound
}
