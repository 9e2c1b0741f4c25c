// What the dashboard's pages do beside htmx: times in the reader's own zone,
// buttons that copy, questions before what cannot be undone, and looking again
// when something was written.
(() => {
  'use strict'

  const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' })

  const hour = new Intl.DateTimeFormat(undefined, { timeStyle: 'short' })

  const ago = (then) => {
    const away = (Date.now() - then) / 1000
    const units = [['day', 86400], ['hour', 3600], ['minute', 60], ['second', 1]]
    const [unit, seconds] = units.find(([, s]) => Math.abs(away) >= s) || ['second', 1]
    return new Intl.RelativeTimeFormat(undefined, { numeric: 'auto' }).format(-Math.trunc(away / seconds), unit)
  }

  const localize = (root) => {
    for (const time of root.querySelectorAll('time[datetime]')) {
      const then = new Date(time.dateTime)
      if (Number.isNaN(then.getTime())) continue
      if ('ago' in time.dataset) time.textContent = ago(then)
      else time.textContent = ('hour' in time.dataset ? hour : full).format(then)
    }
  }

  const addCopyButtons = (root) => {
    for (const text of root.querySelectorAll('pre[data-copy]:not(.has-copy)')) {
      const content = text.textContent
      const button = document.createElement('button')
      button.type = 'button'
      button.className = 'copy'
      button.textContent = 'Copy'
      button.addEventListener('click', async () => {
        try {
          await navigator.clipboard.writeText(content)
          button.textContent = 'Copied'
        } catch {
          getSelection().selectAllChildren(text)
          button.textContent = 'Selected'
        }
        setTimeout(() => { button.textContent = 'Copy' }, 1500)
      })
      text.classList.add('has-copy')
      text.append(button)
    }
  }

  const prepare = (root) => {
    localize(root)
    addCopyButtons(root)
  }

  document.addEventListener('submit', (event) => {
    const question = (event.submitter && event.submitter.dataset.confirm) || event.target.dataset.confirm
    if (question && !confirm(question)) event.preventDefault()
  })

  // A choice that changes what the builder asks for.
  document.addEventListener('change', (event) => {
    const form = event.target.form
    if (form && 'again' in event.target.dataset && form.hasAttribute('hx-post')) form.requestSubmit(form.querySelector('[value="apply"]'))
  })

  // What is not published is in the page alone.
  addEventListener('beforeunload', (event) => {
    if (document.querySelector('form[data-unsaved]') && !leaving) event.preventDefault()
  })
  let leaving = false
  document.addEventListener('click', (event) => { leaving = !!(event.target.closest && event.target.closest('form[data-unsaved] a[href]')) })
  document.addEventListener('htmx:beforeOnLoad', (event) => { if (event.detail.xhr.getResponseHeader('HX-Redirect')) leaving = true })

  document.addEventListener('htmx:afterSwap', (event) => prepare(event.target.parentElement || document))

  const wide = matchMedia('(min-width: 860px)')
  const menu = document.querySelector('details.menu')
  const arrange = () => { if (menu) menu.open = wide.matches }
  wide.addEventListener('change', arrange)
  arrange()

  prepare(document)

  if (document.body.dataset.live) {
    let source
    const listen = () => {
      if (document.hidden || source) return
      source = new EventSource(document.body.dataset.live)
      source.addEventListener('change', () => htmx.trigger(document.body, 'live'))
    }
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden) { listen(); htmx.trigger(document.body, 'live'); return }
      if (source) source.close()
      source = undefined
    })
    addEventListener('pagehide', () => { if (source) source.close() })
    listen()
  }
})()
