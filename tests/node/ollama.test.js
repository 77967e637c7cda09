// The real `ollama` package of npm against a running Hearth. tests/python/test_node.py starts it and
// says where it is: HEARTH_URL, HEARTH_TOKEN, HEARTH_REGISTRY.
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Ollama } from 'ollama'

const { HEARTH_URL, HEARTH_TOKEN, HEARTH_REGISTRY } = process.env
const api = new Ollama({ host: HEARTH_URL, headers: { Authorization: `Bearer ${HEARTH_TOKEN}` } })
const once = [{ role: 'user', content: 'Once upon a time' }]
const options = { temperature: 0, num_predict: 16 }
const tool = {
  type: 'function',
  function: {
    name: 'add',
    description: 'adds',
    parameters: { type: 'object', required: ['value'], properties: { value: { type: 'integer' } } },
  },
}

async function gather(stream) {
  const pieces = []
  for await (const piece of stream) pieces.push(piece)
  return pieces
}

test('a chat streams what it says whole', async () => {
  const whole = await api.chat({ model: 'stories260k', messages: once, options })
  const pieces = await gather(await api.chat({ model: 'stories260k', messages: once, options, stream: true }))
  assert.equal(pieces.map((piece) => piece.message.content).join(''), whole.message.content)
  assert.ok(whole.message.content && pieces.length > 8)
  assert.deepEqual([whole.eval_count, pieces.at(-1).eval_count, pieces.at(-1).done], [16, 16, true])
})

test('a prompt is continued, and a context gone on with', async () => {
  const first = await api.generate({ model: 'stories260k', prompt: 'Once', options })
  assert.equal(first.context.length, first.prompt_eval_count + first.eval_count)
  const second = await api.generate({ model: 'stories260k', prompt: 'And', context: first.context, options })
  assert.deepEqual(second.context.slice(0, first.context.length), first.context)
})

test('tools are offered and their results taken', async () => {
  const answer = await api.chat({ model: 'caller', messages: once, tools: [tool], think: false, options })
  assert.ok(answer.done)
  const turns = [
    ...once,
    { role: 'assistant', content: '', tool_calls: [{ function: { name: 'add', arguments: { value: 3 } } }] },
    { role: 'tool', tool_name: 'add', content: '7' },
  ]
  assert.ok((await api.chat({ model: 'caller', messages: turns, tools: [tool], options })).done)
  const refused = api.chat({ model: 'stories260k', messages: once, tools: [tool] })
  await assert.rejects(refused, /does not support tools/)
})

test('thoughts are told apart', async () => {
  const answer = await api.chat({ model: 'caller', messages: once, think: true, options })
  assert.ok(answer.message.thinking && !answer.message.content)
})

test('an answer is held to a schema', async () => {
  const format = {
    type: 'object',
    required: ['n'],
    additionalProperties: false,
    properties: { n: { type: 'integer', minimum: 0, maximum: 9 } },
  }
  const seeded = { seed: 1, num_predict: 200 }
  const answer = await api.chat({ model: 'stories260k', messages: once, format, options: seeded })
  assert.ok(JSON.parse(answer.message.content).n <= 9)
})

test('texts become vectors', async () => {
  const { embeddings } = await api.embed({ model: 'all-minilm', input: ['a cat', 'tax law'] })
  assert.deepEqual(embeddings.map((vector) => vector.length), [384, 384])
  const { embedding } = await api.embeddings({ model: 'all-minilm', prompt: 'a cat' })
  assert.equal(embedding.length, 384)
})

test('models are listed, shown and seen running', async () => {
  const { models } = await api.list()
  assert.ok(models.some((model) => model.name === 'stories260k:latest'))
  const shown = await api.show({ model: 'stories260k' })
  assert.deepEqual(shown.capabilities, ['completion'])
  await api.generate({ model: 'stories260k', prompt: '', keep_alive: '10m' })
  const running = await api.ps()
  assert.ok(running.models.some((model) => model.name === 'stories260k:latest'))
  assert.equal((await api.version()).version.split('.').length, 3)
})

test('a model is pulled, made into another, copied and deleted', async () => {
  const name = `${HEARTH_REGISTRY}/me/stories`
  const steps = await gather(await api.pull({ model: name, insecure: true, stream: true }))
  assert.equal(steps.at(-1).status, 'success')
  assert.equal((await api.pull({ model: name })).status, 'success')
  const parameters = { num_predict: 3 }
  const made = await gather(await api.create({ model: 'node-made', from: name, parameters, stream: true }))
  assert.equal(made.at(-1).status, 'success')
  assert.equal((await api.chat({ model: 'node-made', messages: once })).eval_count, 3)
  await api.copy({ source: 'node-made', destination: 'team/node-made:v2' })
  for (const model of [name, 'node-made', 'team/node-made:v2']) await api.delete({ model })
  await assert.rejects(api.chat({ model: 'node-made', messages: once }), /model 'node-made' not found/)
  const absent = async () => gather(await api.pull({ model: `${HEARTH_REGISTRY}/me/none`, stream: true }))
  await assert.rejects(absent, /pull model manifest: file does not exist/)
})

test('a model is pushed to a registry', async () => {
  const name = `${HEARTH_REGISTRY}/me/node-sent`
  await api.copy({ source: 'stories260k', destination: name })
  const steps = await gather(await api.push({ model: name, insecure: true, stream: true }))
  assert.deepEqual([steps[0].status, steps.at(-1).status], ['retrieving manifest', 'success'])
  assert.equal((await api.push({ model: name })).status, 'success')
  await api.delete({ model: name })
  assert.equal((await api.pull({ model: name })).status, 'success')
  await api.delete({ model: name })
  await assert.rejects(api.push({ model: 'stories260k' }), /hub\.push_registries/)
})

test('a stream that its reader stops ends there', async () => {
  const stream = await api.generate({ model: 'stories260k', prompt: 'Once', options: { num_predict: 400 }, stream: true })
  const read = async () => {
    for await (const piece of stream) if (!piece.done) stream.abort()
  }
  await assert.rejects(read, { name: 'AbortError' })
})
