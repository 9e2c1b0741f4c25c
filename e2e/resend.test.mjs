// Resend's own client for Node, unmodified, against a running server. The Go
// test TestResendForNode in cmd starts the server and this file.
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { test } from 'node:test'
import { Resend } from 'resend'

const resend = new Resend(process.env.OPENSEND_KEY, { baseUrl: process.env.OPENSEND_URL })

// ok is the data of an answer that must not be an error.
async function ok(call) {
  const { data, error } = await call
  assert.equal(error, null)
  return data
}

// refused is the error of an answer that must be one.
async function refused(call, name) {
  const { data, error } = await call
  assert.equal(data, null)
  assert.equal(error.name, name)
  assert.ok(error.message)
  return error
}

async function until(check) {
  for (;;) {
    const found = await check()
    if (found) return found
    await new Promise((done) => setTimeout(done, 20))
  }
}

test('event types', async () => {
  const { id } = await ok(resend.events.create({ name: 'invoice.paid/eu', schema: { amount: 'number' } }))
  assert.equal((await ok(resend.events.get('invoice.paid/eu'))).id, id)
  assert.deepEqual((await ok(resend.events.get(id))).schema, { amount: 'number' })
  await ok(resend.events.update(id, { schema: { amount: 'number', paid_at: 'date' } }))
  await ok(resend.events.update(id, { schema: null }))
  assert.equal((await ok(resend.events.list({ limit: 1 }))).data.length, 1)
  await refused(resend.events.create({ name: 'invoice.paid/eu' }), 'conflict')
  assert.equal((await ok(resend.events.remove('invoice.paid/eu'))).deleted, true)
  await refused(resend.events.get(id), 'not_found')
})

test('an automation, from the event to the mail', async () => {
  const segment = await ok(resend.segments.create({ name: 'Members' }))
  const template = await ok(resend.templates.create({
    name: 'Welcome', alias: 'welcome', subject: 'Hello {{{NAME}}}', html: '<p>Welcome, {{{NAME}}}</p>', from: 'Ada <ada@example.com>', replyTo: 'help@example.com',
    variables: [{ key: 'NAME', type: 'string', fallbackValue: 'there' }],
  }).publish())
  const automation = await ok(resend.automations.create({
    name: 'Welcome', status: 'enabled',
    steps: [
      { key: 'start', type: 'trigger', config: { eventName: 'user.signed_up' } },
      { key: 'pro', type: 'condition', config: { type: 'rule', field: 'event.plan', operator: 'eq', value: 'pro' } },
      { key: 'join', type: 'add_to_segment', config: { segmentId: segment.id } },
      { key: 'mail', type: 'send_email', config: { template: { id: template.id, variables: { NAME: { var: 'event.name' } } } } },
      { key: 'wait', type: 'wait_for_event', config: { eventName: 'user.activated', timeout: '3 days' } },
      { key: 'update', type: 'contact_update', config: { firstName: 'Ada', properties: { active: true } } },
    ],
    connections: [
      { from: 'start', to: 'pro' }, { from: 'pro', to: 'join', type: 'condition_met' }, { from: 'join', to: 'mail' },
      { from: 'mail', to: 'wait' }, { from: 'wait', to: 'update', type: 'event_received' },
    ],
  }))
  assert.equal(automation.object, 'automation')
  assert.equal((await ok(resend.automations.get(automation.id))).steps.length, 6)
  assert.ok((await ok(resend.automations.list({ status: 'enabled' }))).data.some((a) => a.id === automation.id))

  const sent = await ok(resend.events.send({ event: 'user.signed_up', email: 'ada@example.com', payload: { plan: 'pro', name: 'Ada' } }))
  assert.equal(sent.object, 'event_delivery')
  assert.equal(sent.event, 'user.signed_up')
  const [{ id: runId }] = (await ok(resend.automations.runs.list({ automationId: automation.id, status: 'running' }))).data
  await until(async () => (await ok(resend.automations.runs.get({ automationId: automation.id, runId }))).steps.some((s) => s.key === 'wait' && s.status === 'waiting'))
  await ok(resend.events.send({ event: 'user.activated', email: 'ADA@example.com' }))
  const run = await until(async () => {
    const r = await ok(resend.automations.runs.get({ automationId: automation.id, runId }))
    return r.status === 'completed' && r
  })
  assert.deepEqual(run.steps.map((s) => s.status), Array(6).fill('completed'))
  const contact = await ok(resend.contacts.get({ email: 'ada@example.com' }))
  assert.equal(contact.first_name, 'Ada')
  assert.deepEqual((await ok(resend.contacts.segments.list({ email: 'ada@example.com' }))).data.map((s) => s.name), ['Members'])
  const mail = (await ok(resend.emails.list())).data.find((m) => m.subject === 'Hello Ada')
  assert.deepEqual(mail.to, ['ada@example.com'])
  assert.equal((await ok(resend.emails.get(mail.id))).html, '<p>Welcome, Ada</p>')

  const copy = await ok(resend.automations.duplicate(automation.id))
  assert.equal((await ok(resend.automations.get(copy.id))).status, 'disabled')
  assert.ok((await ok(resend.automations.list({ status: 'disabled' }))).data.some((a) => a.id === copy.id))
  await ok(resend.automations.update(copy.id, { name: 'Copy' }))
  await ok(resend.automations.remove(copy.id))
  await refused(resend.automations.remove(automation.id), 'conflict')
  await ok(resend.automations.stop(automation.id))
  await ok(resend.automations.remove(automation.id))
})

test('contacts', async () => {
  const { id } = await ok(resend.contacts.create({ email: 'Bob+x@example.com', firstName: 'Bob', properties: { plan: 'pro', seats: 3 } }))
  const got = await ok(resend.contacts.get(id))
  assert.equal(got.email, 'bob+x@example.com')
  assert.deepEqual(got.properties, { plan: { type: 'string', value: 'pro' }, seats: { type: 'number', value: 3 } })
  await refused(resend.contacts.create({ email: 'bob+x@example.com' }), 'conflict')
  await ok(resend.contacts.update({ email: 'bob+x@example.com', unsubscribed: true, lastName: 'Builder' }))
  assert.equal((await ok(resend.contacts.get('bob+x@example.com'))).unsubscribed, true)
  const segment = await ok(resend.segments.create({ name: 'Builders' }))
  await ok(resend.segments.update(segment.id, { name: 'Makers' }))
  assert.equal((await ok(resend.segments.get(segment.id))).name, 'Makers')
  await ok(resend.contacts.segments.add({ contactId: id, segmentId: segment.id }))
  assert.equal((await ok(resend.contacts.list({ segmentId: segment.id }))).data[0].id, id)
  await ok(resend.contacts.segments.remove({ email: 'bob+x@example.com', segmentId: segment.id }))
  await ok(resend.contacts.create({ email: 'c@example.com', audienceId: segment.id }))
  await ok(resend.contacts.update({ audienceId: segment.id, email: 'c@example.com', firstName: 'Cy' }))
  assert.equal((await ok(resend.contacts.get({ audienceId: segment.id, email: 'c@example.com' }))).first_name, 'Cy')
  await ok(resend.contacts.remove({ audienceId: segment.id, email: 'c@example.com' }))
  assert.ok((await ok(resend.segments.list())).data.length > 0)
  await ok(resend.segments.remove(segment.id))
  const gone = await ok(resend.contacts.remove({ email: 'bob+x@example.com' }))
  assert.equal(gone.deleted, true)
  await refused(resend.contacts.get(id), 'not_found')
})

test('topics and properties', async () => {
  const topic = await ok(resend.topics.create({ name: 'News', defaultSubscription: 'opt_in', description: 'Now and then' }))
  assert.equal((await ok(resend.topics.get(topic.id))).default_subscription, 'opt_in')
  await ok(resend.topics.update({ id: topic.id, name: 'Newsletter' }))
  const contact = await ok(resend.contacts.create({ email: 't@example.com', topics: [{ id: topic.id, subscription: 'opt_out' }] }))
  assert.equal((await ok(resend.contacts.topics.list({ id: contact.id }))).data[0].subscription, 'opt_out')
  await ok(resend.contacts.topics.update({ email: 't@example.com', topics: [{ id: topic.id, subscription: 'opt_in' }] }))
  assert.equal((await ok(resend.contacts.topics.list({ email: 't@example.com' }))).data[0].subscription, 'opt_in')
  assert.equal((await ok(resend.topics.list())).data[0].name, 'Newsletter')
  await ok(resend.topics.remove(topic.id))
  const property = await ok(resend.contactProperties.create({ key: 'plan', type: 'string', fallbackValue: 'free' }))
  assert.equal((await ok(resend.contactProperties.get(property.id))).fallbackValue, 'free')
  await ok(resend.contactProperties.update({ id: property.id, fallbackValue: 'none' }))
  assert.equal((await ok(resend.contactProperties.list())).data[0].fallbackValue, 'none')
  await ok(resend.contactProperties.remove(property.id))
})

test('templates', async () => {
  const { id } = await ok(resend.templates.create({ name: 'Receipt', subject: 'Paid', html: '<p>{{{AMOUNT}}}</p>', variables: [{ key: 'AMOUNT', type: 'number' }] }))
  assert.equal((await ok(resend.templates.get(id))).status, 'draft')
  await ok(resend.templates.update(id, { alias: 'receipt', text: 'Paid {{{AMOUNT}}}' }))
  await ok(resend.templates.publish('receipt'))
  assert.equal((await ok(resend.templates.get('receipt'))).status, 'published')
  await ok(resend.templates.duplicate('receipt'))
  assert.ok((await ok(resend.templates.list({ limit: 50 }))).data.length >= 2)
  const { id: mail } = await ok(resend.emails.send({ from: 'ada@example.com', to: 'bob@example.com', template: { id: 'receipt', variables: { AMOUNT: 12 } } }))
  assert.equal((await ok(resend.emails.get(mail))).text, 'Paid 12')
  await ok(resend.templates.remove('receipt'))
})

test('emails', async () => {
  const mail = {
    from: 'Ada <ada@example.com>', to: ['bob@example.com'], cc: 'c@example.com', bcc: ['d@example.com'], replyTo: ['r@example.com'], subject: 'Hi', html: '<p>Hi</p>', text: 'Hi',
    headers: { 'X-Ref': '1' }, tags: [{ name: 'kind', value: 'test' }],
    attachments: [{ filename: 'a.txt', content: Buffer.from('hello') }, { filename: 'b.png', content: 'aGVsbG8=', contentType: 'image/png', contentId: 'logo' }],
  }
  const first = await ok(resend.emails.send(mail, { idempotencyKey: 'node-once' }))
  assert.deepEqual(await ok(resend.emails.send(mail, { idempotencyKey: 'node-once' })), first)
  await refused(resend.emails.send({ ...mail, subject: 'Other' }, { idempotencyKey: 'node-once' }), 'invalid_idempotent_request')
  assert.deepEqual((await ok(resend.emails.get(first.id))).reply_to, ['r@example.com'])
  const later = await ok(resend.emails.send({ ...mail, scheduledAt: 'in 1 day' }))
  await ok(resend.emails.update({ id: later.id, scheduledAt: new Date(Date.now() + 3600e3).toISOString() }))
  await ok(resend.emails.cancel(later.id))
  assert.equal((await ok(resend.emails.get(later.id))).last_event, 'canceled')
  assert.equal((await ok(resend.batch.send([mail, mail]))).data.length, 2)
  const some = await ok(resend.batch.send([{ ...mail, to: 'nonsense' }, mail], { batchValidation: 'permissive' }))
  assert.equal(some.data.length, 1)
  assert.equal(some.errors[0].index, 0)
  await refused(resend.emails.send({ from: 'ada@example.com', to: 'bob@example.com', subject: 'x' }), 'missing_required_field')
  await refused(resend.emails.send({ ...mail, to: 'nonsense' }), 'validation_error')
})

test('suppressions', async () => {
  await ok(resend.suppressions.add({ email: 'lost+1@example.com' }))
  assert.equal((await ok(resend.suppressions.get('lost+1@example.com'))).origin, 'manual')
  assert.ok((await ok(resend.suppressions.list())).data.length > 0)
  assert.equal((await ok(resend.suppressions.remove('lost+1@example.com'))).deleted, true)
  await ok(resend.suppressions.batch.add({ emails: ['e@example.com', 'f@example.com'] }))
  assert.equal((await ok(resend.suppressions.batch.remove({ emails: ['e@example.com', 'f@example.com'] }))).data.length, 2)
})

test('webhooks', async () => {
  const got = []
  const receiver = createServer(async (request, answer) => {
    let payload = ''
    for await (const part of request.setEncoding('utf8')) payload += part
    const { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signature } = request.headers
    got.push({ payload, headers: { id, timestamp, signature } })
    answer.end('thanks')
  })
  await new Promise((ready) => receiver.listen(0, '127.0.0.1', ready))
  const endpoint = `http://127.0.0.1:${receiver.address().port}/hooks`
  try {
    await refused(resend.webhooks.create({ endpoint: 'http://10.0.0.1/', events: ['contact.created'] }), 'validation_error')
    const webhook = await ok(resend.webhooks.create({ endpoint, events: ['contact.created', 'email.scheduled'] }))
    await ok(resend.contacts.create({ email: 'told@example.com', firstName: 'Tess' }))
    const first = await until(() => got[0])
    const notice = resend.webhooks.verify({ ...first, webhookSecret: webhook.signing_secret })
    assert.equal(notice.type, 'contact.created')
    assert.equal(notice.data.email, 'told@example.com')
    assert.equal(notice.data.first_name, 'Tess')
    assert.ok(notice.created_at)
    assert.throws(() => resend.webhooks.verify({ ...first, payload: first.payload + ' ', webhookSecret: webhook.signing_secret }))

    const event = { webhookId: webhook.id, eventId: first.headers.id }
    await until(async () => (await ok(resend.webhooks.events.get(event))).status === 'success')
    assert.equal((await ok(resend.webhooks.events.list({ webhookId: webhook.id }))).data[0].type, 'contact.created')
    assert.equal((await ok(resend.webhooks.events.attempts.list(event))).data[0].response, 'thanks')

    const rotated = await ok(resend.webhooks.rotateSigningSecret(webhook.id))
    assert.notEqual(rotated.signing_secret, webhook.signing_secret)
    await ok(resend.webhooks.events.replay(event))
    const again = await until(() => got[1])
    assert.equal(again.headers.id, first.headers.id)
    for (const webhookSecret of [webhook.signing_secret, rotated.signing_secret]) resend.webhooks.verify({ ...again, webhookSecret })

    await ok(resend.webhooks.update(webhook.id, { status: 'disabled' }))
    assert.equal((await ok(resend.webhooks.get(webhook.id))).status, 'disabled')
    assert.equal((await ok(resend.webhooks.list())).data[0].endpoint, endpoint)
    assert.equal((await ok(resend.webhooks.remove(webhook.id))).deleted, true)
  } finally {
    receiver.close()
    receiver.closeAllConnections()
  }
})

test('API keys', async () => {
  const key = await ok(resend.apiKeys.create({ name: 'sender', permission: 'sending_access' }))
  await ok(resend.apiKeys.update(key.id, { name: 'mailer' }))
  assert.ok((await ok(resend.apiKeys.list())).data.some((k) => k.name === 'mailer'))
  const sender = new Resend(key.token, { baseUrl: process.env.OPENSEND_URL })
  await ok(sender.emails.send({ from: 'ada@example.com', to: 'bob@example.com', subject: 'x', text: 'x' }))
  await refused(sender.contacts.list(), 'restricted_api_key')
  await ok(resend.apiKeys.remove(key.id))
  assert.equal((await refused(sender.emails.list(), 'invalid_api_key')).statusCode, 403)
})
