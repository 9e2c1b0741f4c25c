// A draft of the builder is in the page until it is published. So that neither
// a reload nor a closed tab loses it, this keeps what the form holds in the
// browser, as it is typed, and offers it when the automation is opened again. A
// page writes to an entry of its own: two tabs do not overwrite each other.
(() => {
  'use strict'

  const prefix = 'opensend draft ' + location.pathname + ' '
  let own = prefix + Date.now()
  const form = () => document.getElementById('builder')

  const keep = () => {
    if (!('unsaved' in form().dataset)) return localStorage.removeItem(own)
    const fields = new URLSearchParams(new FormData(form()))
    const write = () => localStorage.setItem(own, JSON.stringify({ at: Date.now(), base: fields.get('base'), fields: fields.toString() }))
    try {
      write()
    } catch { // no room: without the way back there may be
      fields.delete('past')
      try { write() } catch { /* the page warns before it is left */ }
    }
  }

  let timer
  const soon = () => {
    clearTimeout(timer)
    timer = setTimeout(keep, 300)
  }
  const now = () => {
    if (timer) keep()
    clearTimeout(timer)
    timer = undefined
  }
  const forget = () => {
    clearTimeout(timer)
    timer = undefined
    delete form().dataset.unsaved
    localStorage.removeItem(own)
  }
  document.addEventListener('input', (event) => { if (event.target.form === form()) soon() })
  addEventListener('pagehide', now)
  document.addEventListener('visibilitychange', () => { if (document.hidden) now() })
  document.addEventListener('htmx:beforeOnLoad', (event) => { if (event.detail.xhr.getResponseHeader('HX-Redirect')) forget() }) // it is published
  document.addEventListener('click', (event) => {
    const discard = event.target.closest('a[data-discard]')
    if (!discard || !('unsaved' in form().dataset)) return
    if (confirm('Discard what is not published? The published flow stays as it is.')) forget()
    else event.preventDefault()
  })

  // An answer takes the place of the form. What was typed while it was under way
  // is put into it where it says what was sent, and a button that was pressed
  // meanwhile is pressed again if it is still there and means the same: the one
  // that is under way is not, nor one of a condition whose number may be another's.
  let sent, typed = [], waiting, taking
  const step = (name) => form().elements[name] && form().elements[name].value
  const fields = () => form().querySelectorAll('input[id], textarea[id], select[id]')
  const says = (id) => document.getElementById(id) && document.getElementById(id).value
  const sameStep = () => [sent.panel, document.getElementById('step-' + sent.panel) ? sent.panel : sent.key].includes(step('panel'))
  const list = (id) => id.split('.')[0]
  const samePlace = (id) => id === 'draft' || (sameStep() && [...sent.values].every(([other, value]) =>
    list(other) !== list(id) || !/\.(field|name)$/.test(other) || says(other) === value))
  const means = (value) => value === 'apply' || (value !== sent.does &&
    (!/^(rule|group|drop) /.test(value) || (/^(apply$|rule |group )/.test(sent.does) && sameStep())))
  document.addEventListener('submit', (event) => {
    if (event.target !== form() || !(taking || form().classList.contains('htmx-request'))) return
    waiting = !taking && event.submitter && event.submitter.value
    event.preventDefault()
    event.stopImmediatePropagation()
  }, true)
  document.addEventListener('htmx:beforeRequest', (event) => {
    if (event.target !== form()) return
    sent = { does: event.detail.requestConfig.parameters.do, panel: step('panel'), key: step('key'), values: new Map([...fields()].map((e) => [e.id, e.value])) }
  })
  document.addEventListener('htmx:beforeSwap', (event) => {
    if (event.target !== form()) return
    if (taking) now()
    if (sent) typed = [...fields()].filter((e) => e.value !== sent.values.get(e.id))
  })
  const settled = () => {
    sent = waiting = undefined
    typed = []
  }
  document.addEventListener('htmx:afterSettle', (event) => {
    if (event.target !== form() || !sent) return
    for (const old of typed.filter((e) => says(e.id) === sent.values.get(e.id) && samePlace(e.id))) {
      const now = document.getElementById(old.id)
      now.value = old.value
      if (typeof old.selectionStart === 'number') now.setSelectionRange(old.selectionStart, old.selectionEnd)
      now.dispatchEvent(new Event('input', { bubbles: true }))
    }
    const again = waiting && means(waiting) && [...form().querySelectorAll('button[name="do"]')].find((b) => b.value === waiting)
    settled()
    if (again) again.click()
  })
  document.addEventListener('htmx:afterRequest', (event) => { if (event.target === form()) settled() }) // it is still there: nothing took its place

  document.addEventListener('htmx:afterSwap', (event) => {
    if (!event.target.contains(form())) return
    if (taking) {
      localStorage.removeItem(taking.entry)
      taking.offer.remove()
      taking = undefined
      own = prefix + Date.now() // what was in the page before keeps its entry
    }
    clearTimeout(timer)
    timer = undefined
    keep()
  })

  const button = (name, kind, does) => {
    const b = document.createElement('button')
    b.type = 'button'
    b.className = kind
    b.textContent = name
    b.addEventListener('click', does)
    return b
  }

  // offer shows a draft that was left, to be taken up or discarded.
  const offer = (entry, { at, base, fields }) => {
    const banner = document.createElement('div')
    banner.className = 'banner plain row spread'
    const words = document.createElement('p')
    const when = document.createElement('time')
    when.dateTime = new Date(at).toISOString()
    when.textContent = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' }).format(at)
    const newer = base === form().elements.base.value ? '' : ' Another revision has been published since.'
    words.append('This browser kept a draft that was not published, of ', when, ', made of revision ' + base + '.' + newer)
    const row = document.createElement('div')
    row.className = 'row'
    row.append(
      button('Take it up', '', () => {
        if (taking || form().classList.contains('htmx-request')) return
        now()
        const values = new FormData()
        for (const [name, value] of new URLSearchParams(fields)) values.append(name, value)
        values.set('do', 'apply')
        taking = { entry, offer: banner }
        htmx.ajax('POST', location.pathname, { source: document.body, target: '#builder', select: '#builder', swap: 'outerHTML', values })
          .catch(() => {}) // it is said on top of the page
          .finally(() => { taking = undefined })
      }),
      button('Discard it', 'quiet', () => {
        if (!confirm('Discard this draft?')) return
        localStorage.removeItem(entry)
        banner.remove()
      }))
    banner.append(words, row)
    form().before(banner)
  }

  for (const entry of Object.keys(localStorage).filter((name) => name.startsWith(prefix)).sort()) {
    try {
      offer(entry, JSON.parse(localStorage.getItem(entry)))
    } catch {
      localStorage.removeItem(entry)
    }
  }
})()
