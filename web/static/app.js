// What the dashboard's pages do beside htmx: times in the reader's own zone,
// buttons that copy, questions before what cannot be undone, looking again when
// something was written, and saying so when the server cannot be reached.
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

  const copy = async (node) => {
    try {
      await navigator.clipboard.writeText(node.data)
      return true
    } catch { // a page without TLS has no clipboard
      getSelection().setBaseAndExtent(node, 0, node, node.length)
      return document.execCommand('copy')
    }
  }

  const addCopyButtons = (root) => {
    for (const text of root.querySelectorAll('pre[data-copy]:not(.has-copy)')) {
      const content = text.firstChild
      const button = document.createElement('button')
      button.type = 'button'
      button.className = 'copy'
      button.textContent = 'Copy'
      button.addEventListener('click', async () => {
        button.textContent = await copy(content) ? 'Copied' : 'Selected'
        setTimeout(() => { button.textContent = 'Copy' }, 1500)
      })
      text.classList.add('has-copy')
      text.prepend(button)
    }
  }

  // What is wider than its place begins with what matters: the tab that is shown,
  // the first step of a flow or the one that is open.
  const center = (root) => {
    for (const place of root.querySelectorAll('.tabs, .canvas')) {
      const shown = place.querySelector('[aria-current], .step.open, .plus.open') || place.querySelector('.step')
      if (!shown || place.scrollWidth <= place.clientWidth) continue
      const at = shown.getBoundingClientRect(), around = place.getBoundingClientRect()
      place.scrollLeft += at.left + at.width / 2 - around.left - around.width / 2
    }
    const open = root.querySelector('.step.open')
    if (open && matchMedia('(min-width: 1180px)').matches) open.scrollIntoView({ block: 'nearest' })
  }

  const prepare = (root) => {
    localize(root)
    addCopyButtons(root)
  }

  // A form is sent once, however often its button is pressed and however long the
  // answer takes, and after its question was answered; work takes nothing more that
  // the next page would not have. No event tells that the browser gave up, or that
  // the answer is a file. What htmx sends is not this script's matter.
  let leaving = false
  document.addEventListener('submit', (event) => {
    if (event.defaultPrevented) return
    const form = event.target
    const question = (event.submitter && event.submitter.dataset.confirm) || form.dataset.confirm
    if ('sent' in form.dataset || (question && !confirm(question))) {
      event.preventDefault()
      return
    }
    if (form.method !== 'post') return
    form.dataset.sent = ''
    form.inert = 'work' in form.dataset
    leaving = true
    setTimeout(() => {
      delete form.dataset.sent
      form.inert = false
      leaving = false
    }, 'file' in form.dataset ? 2000 : 30000)
  })

  // What was typed into a form that is somebody's work is not lost by leaving.
  document.addEventListener('input', (event) => {
    const form = event.target.form
    if (form && 'work' in form.dataset && !event.target.closest('.preview')) form.dataset.unsaved = ''
  })
  addEventListener('beforeunload', (event) => {
    if (document.querySelector('form[data-unsaved]') && !leaving) event.preventDefault()
  })

  // A choice that changes what the builder asks for.
  document.addEventListener('change', (event) => {
    const form = event.target.form
    if (form && 'again' in event.target.dataset && form.hasAttribute('hx-post')) form.requestSubmit(form.querySelector('[value="apply"]'))
  })

  // Whatever keeps a button of htmx from working is said on top of the page.
  const trouble = (words, link) => {
    const said = document.querySelector('.trouble') || document.createElement('p')
    said.className = 'banner bad trouble'
    said.setAttribute('role', 'alert')
    said.textContent = words
    if (link) {
      const a = document.createElement('a')
      a.href = link.to
      a.target = '_blank'
      a.rel = 'noopener'
      a.textContent = link.name
      said.append(' ', a)
    }
    document.querySelector('main').prepend(said)
  }
  const typed = () => document.querySelector('form[data-unsaved]') || [...document.querySelectorAll('main input:not([type=checkbox]), main textarea')].some((e) => e.value !== e.defaultValue)
  document.addEventListener('htmx:responseError', (event) => {
    const { xhr, requestConfig } = event.detail
    if (xhr.status === 401) {
      if (!typed()) return location.reload() // which leads to the way in
      return trouble('Your session has ended. What you wrote is still here: sign in, and go on.', { to: '/dashboard/sign-in?to=/dashboard', name: 'Sign in in another tab' })
    }
    if (requestConfig.verb === 'get') return
    const page = new DOMParser().parseFromString(xhr.responseText, 'text/html').querySelector('main h1')
    trouble((page && page.textContent.trim()) || 'The server could not do this (' + xhr.status + '). What you wrote is still here.')
  })
  document.addEventListener('htmx:sendError', (event) => {
    if (event.detail.requestConfig.verb !== 'get') trouble('The server cannot be reached. What you wrote is still here: try again in a moment.')
  })
  document.addEventListener('htmx:beforeOnLoad', (event) => {
    const said = document.querySelector('.trouble')
    if (said && event.detail.xhr.status < 400) said.remove()
  })

  // A part of a page that looks again is left alone while it says the same, and
  // keeps what was opened in it, what has the focus, and how far it was scrolled.
  const words = (part) => part.outerHTML.replace(/(<time [^>]*>)[^<]*/g, '$1')
  const last = new Map()
  for (const part of document.querySelectorAll('[hx-trigger^="live"]')) last.set(part.id, words(part))
  const place = (details) => {
    const item = details.closest('li, tr')
    return (item ? [...item.parentElement.children].indexOf(item) : '') + details.firstElementChild.textContent
  }
  const mark = (e) => [e.tagName, e.getAttribute('href'), e.name, e.value, e.form && e.form.getAttribute('action')].join(' ')
  const scrolled = (root) => {
    const canvas = root.querySelector('.canvas'), beside = root.querySelector('.beside'), step = root.querySelector('[name="open"]')
    return { canvas, beside, left: canvas && canvas.scrollLeft, top: beside && beside.scrollTop, step: step && step.value }
  }
  // It is not put in under a button that is held down, nor under words that were just
  // selected, nor while a form is on its way: a second later it looks again.
  let down = false, selected = 0, again
  document.addEventListener('pointerdown', (event) => { down = event.button === 0 })
  for (const end of ['pointerup', 'pointercancel']) document.addEventListener(end, () => { down = false })
  document.addEventListener('selectionchange', () => { selected = getSelection().isCollapsed ? 0 : Date.now() })
  const busy = () => leaving || down || Date.now() - selected < 30000
  const look = () => htmx.trigger(document.body, 'live')
  let kept
  document.addEventListener('htmx:beforeSwap', (event) => {
    const { target, serverResponse, requestConfig, shouldSwap } = event.detail
    if (!shouldSwap) return
    const focused = target.contains(document.activeElement) && document.activeElement
    kept = { focused: focused && !focused.id && mark(focused), open: [...target.querySelectorAll('details[open]')].map(place), scrolled: scrolled(target) }
    if (!requestConfig.triggeringEvent || requestConfig.triggeringEvent.type !== 'live') return
    const part = new DOMParser().parseFromString(serverResponse, 'text/html').getElementById(target.id)
    if (!part) return
    if (words(part) === last.get(target.id)) {
      event.detail.shouldSwap = false
      localize(target)
    } else if (busy()) {
      event.detail.shouldSwap = false
      clearTimeout(again)
      again = setTimeout(look, 1000)
      return
    }
    last.set(target.id, words(part))
  })
  document.addEventListener('htmx:afterSwap', (event) => {
    const root = event.target.parentElement || document
    prepare(root)
    if (!kept) return
    for (const details of root.querySelectorAll('details')) if (kept.open.includes(place(details))) details.open = true
    const now = scrolled(root)
    if (now.canvas && kept.scrolled.canvas) now.canvas.scrollLeft = kept.scrolled.left
    if (now.beside && kept.scrolled.beside && now.step === kept.scrolled.step) now.beside.scrollTop = kept.scrolled.top
    const again = kept.focused && [...root.querySelectorAll('a, button, summary, input, select, textarea')].find((e) => mark(e) === kept.focused)
    if (again && document.activeElement === document.body) again.focus({ preventScroll: true })
    kept = undefined
  })

  const wide = matchMedia('(min-width: 860px)')
  const menu = document.querySelector('details.menu')
  const arrange = () => { if (menu) menu.open = wide.matches }
  wide.addEventListener('change', arrange)
  arrange()

  prepare(document)
  center(document)

  if (document.body.dataset.live) {
    let source
    const stop = () => {
      if (source) source.close()
      source = undefined
    }
    const listen = () => {
      if (document.hidden || source) return
      source = new EventSource(document.body.dataset.live)
      source.addEventListener('change', look)
      source.addEventListener('error', () => { // a proxy that answers for a server that restarts ends it for good
        if (source && source.readyState === EventSource.CLOSED) {
          stop()
          setTimeout(listen, 10000)
        }
      })
    }
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) return stop()
      listen()
      look()
    })
    addEventListener('pagehide', stop)
    addEventListener('pageshow', (event) => { if (event.persisted) { listen(); look() } })
    listen()
  }
})()
