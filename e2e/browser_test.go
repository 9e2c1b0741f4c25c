package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is a tab of a real browser that takes note of everything it should
// not have to complain about.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu         sync.Mutex
	complaints []string
	allowed    []string // words of complaints that a test expects
}

// open starts a browser for a server; without one on the machine the test is
// left out.
func open(t *testing.T, s *server) *browser {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("SKIPPED: there is no chromium on this machine; apt-get install chromium")
	}
	ctx, stop := chromedp.NewContext(context.Background(), chromedp.WithAllocatorOptions(
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true)))
	t.Cleanup(stop)
	b := &browser{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, func(event any) { b.hear(event, s.base) }); err != nil {
		t.Fatalf("starting %s: %v", path, err)
	}
	b.do("start", command(network.Enable, network.EnableParams{}), command(log.Enable, cdp.Empty{}), command(page.Enable, page.EnableParams{}), command(runtime.Enable, cdp.Empty{}))
	t.Cleanup(b.verdict)
	return b
}

// command is an action that sends a command of the protocol and has no use for
// the answer.
func command[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, params)
		return err
	})
}

// hear notes errors on the console, reports of the content policy, and requests
// that leave for another host.
func (b *browser) hear(event any, base string) {
	complain := func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, words := range b.allowed {
			if strings.Contains(text, words) {
				return
			}
		}
		b.complaints = append(b.complaints, text)
	}
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		complain("exception: %s", e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "warning" {
			complain("console: %s", e.Args[0].Value)
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == "error" || e.Entry.Level == "warning" {
			complain("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		if u := e.Request.URL; !strings.HasPrefix(u, base) && !strings.HasPrefix(u, "data:") && !strings.HasPrefix(u, "about:") {
			complain("a request to another host: %s", u)
		}
	case *page.EventJavascriptDialogOpening:
		go chromedp.Do(b.ctx, command(page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true}))
	}
}

func (b *browser) verdict() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.complaints {
		b.t.Error(c)
	}
}

// do runs actions; when one fails the page is kept as a picture.
func (b *browser) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	evaluate(b, what, chromedp.Steps(actions...))
}

// evaluate runs an action that has a result.
func evaluate[T any](b *browser, what string, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, stop := context.WithTimeout(b.ctx, patience)
	defer stop()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		where, _ := chromedp.Run(b.ctx, chromedp.Location())
		text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string]("document.body ? document.body.innerText : ''"))
		b.shoot("failed")
		b.t.Fatalf("%s: %v at %s:\n%s", what, err, where, text)
	}
	return v
}

// sees waits until a text is on the page.
func (b *browser) sees(text string) {
	b.t.Helper()
	b.until("document.body.innerText.includes(" + quoted(text) + ")")
}

// holds waits until a field has a value.
func (b *browser) holds(selector, value string) {
	b.t.Helper()
	b.until("document.querySelector(" + quoted(selector) + ").value === " + quoted(value))
}

// answered waits until no answer to a part of the page is under way.
func (b *browser) answered() {
	b.t.Helper()
	b.until("!document.querySelector('.htmx-request')")
}

// until waits until something is so, over whatever pages come in between.
func (b *browser) until(expression string) {
	b.t.Helper()
	is := chromedp.Evaluate[bool](expression)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if so, err := chromedp.Run(b.ctx, is); err == nil && so {
			return
		}
	}
	b.shoot("failed")
	b.t.Fatalf("it does not come to %s:\n%s", expression, evaluate(b, "reading", chromedp.Evaluate[string]("location.href + '\\n' + document.body.innerText")))
}

// quoted is a text as a literal of the page's language.
func quoted(text string) string {
	raw, _ := json.Marshal(text)
	return string(raw)
}

// press clicks what a selector names, once no answer is under way that would put
// it elsewhere; the page may change by that.
func (b *browser) press(selector string) {
	b.t.Helper()
	b.answered()
	b.click(selector)
}

func (b *browser) click(selector string) {
	b.t.Helper()
	b.onPage("pressing "+selector, chromedp.Click(chromedp.CSS(selector)))
}

func (b *browser) fill(selector, text string) {
	b.t.Helper()
	clear := chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := chromedp.Evaluate[bool]("(() => { document.querySelector("+quoted(selector)+").value = ''; return true })()")(ctx, t)
		return err
	})
	b.onPage("filling "+selector, chromedp.WaitVisible(chromedp.CSS(selector)), clear, chromedp.SendKeys(chromedp.CSS(selector), text))
}

// onPage is do for what a part of the page is just being put in the place of.
func (b *browser) onPage(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	b.patiently(what, "-32000", actions...) // the node or its page is gone
}

// patiently is do for what may fail so and then is to be done again.
func (b *browser) patiently(what, failure string, actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	for range 20 {
		ctx, stop := context.WithTimeout(b.ctx, patience)
		err := chromedp.Do(ctx, actions...)
		stop()
		if err == nil {
			return
		}
		if !strings.Contains(err.Error(), failure) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	b.do(what, actions...)
}

// visit opens an address. Where the page asks whether to leave it, a frame of it
// that is still being loaded takes the question away, and the answer with it.
func (b *browser) visit(address string) {
	b.t.Helper()
	b.patiently("opening "+address, "ERR_ABORTED", chromedp.Navigate(address))
}

// as makes the window a width, and light or dark.
func (b *browser) as(width int64, scheme string) {
	b.t.Helper()
	b.do("resizing",
		command(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 900, DeviceScaleFactor: 1, Mobile: width < 500}),
		command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}))
}

// shoot keeps a picture of the whole page in $E2E_SHOTS, when that is set.
func (b *browser) shoot(name string) {
	dir := os.Getenv("E2E_SHOTS")
	if dir == "" {
		return
	}
	if picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100)); err == nil {
		os.WriteFile(filepath.Join(dir, url.PathEscape(name)+".png"), picture, 0o644)
	}
}

// fits makes sure that nothing stands out at the side.
func (b *browser) fits(what string) {
	b.t.Helper()
	over := evaluate(b, "measuring", chromedp.Evaluate[int]("document.documentElement.scrollWidth - innerWidth"))
	if over > 0 {
		b.t.Errorf("%s is %d px wider than the window", what, over)
	}
}

// accessible runs axe-core over the page: no serious or critical violation.
func (b *browser) accessible(what string) {
	b.t.Helper()
	source, err := os.ReadFile("node_modules/axe-core/axe.min.js")
	if err != nil {
		b.t.Log("SKIPPED: axe-core is not installed; npm ci --prefix e2e")
		return
	}
	type violation struct {
		ID, Impact, Help string
		Nodes            []struct{ Target []any }
	}
	evaluate(b, "loading axe", chromedp.Evaluate[any](string(source)+"; true"))
	found := evaluate(b, "looking for barriers", chromedp.Evaluate[[]violation](
		`axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.filter(v => v.impact === 'serious' || v.impact === 'critical').map(v => ({ID: v.id, Impact: v.impact, Help: v.help, Nodes: v.nodes.map(n => ({Target: n.target}))})))`,
		chromedp.EvalAwaitPromise))
	for _, v := range found {
		b.t.Errorf("%s: %s (%s): %s at %v", what, v.ID, v.Impact, v.Help, v.Nodes)
	}
}
