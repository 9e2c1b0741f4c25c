// Verifies with mailauth, another implementation, a message that the Go tests
// have signed: DKIM_SAMPLE names the folder that TestDKIMSample wrote.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { dkimVerify } from 'mailauth/lib/dkim/verify.js'

const dir = process.env.DKIM_SAMPLE

test('DKIM, RSA and Ed25519', { skip: dir ? false : 'DKIM_SAMPLE is not set' }, async () => {
  const records = new Map(readFileSync(`${dir}/records.txt`, 'utf8').trim().split('\n').map((line) => line.split('\t')))
  const resolver = async (name, type) => {
    assert.equal(type, 'TXT')
    return [[records.get(name)]]
  }
  const verdicts = async (message) => (await dkimVerify(message, { resolver })).results.map((r) => r.status.result)
  const message = readFileSync(`${dir}/message.eml`)
  assert.deepEqual(await verdicts(message), ['pass', 'pass'])
  assert.ok(!(await verdicts(Buffer.concat([message, Buffer.from('x\r\n')]))).includes('pass'))
  assert.ok(!(await verdicts(Buffer.concat([Buffer.from('Subject: x\r\n'), message]))).includes('pass'))
})
