// The real `openai` package of npm against a running Hearth; a model named by HEARTH_FAR is answered
// for by a channel. tests/python starts both.
import assert from 'node:assert/strict'
import { test } from 'node:test'

import OpenAI from 'openai'

const { HEARTH_URL, HEARTH_TOKEN, HEARTH_FAR } = process.env
const api = new OpenAI({ baseURL: `${HEARTH_URL}/v1`, apiKey: HEARTH_TOKEN, maxRetries: 0 })
const asked = {
  messages: [{ role: 'user', content: 'Once upon a time' }],
  max_tokens: 16,
  temperature: 0,
}

for (const model of ['stories260k', ...(HEARTH_FAR ? [HEARTH_FAR] : [])]) {
  test(`a chat with ${model} streams what it says whole`, async () => {
    const whole = await api.chat.completions.create({ model, ...asked })
    const stream = await api.chat.completions.create({
      model,
      ...asked,
      stream: true,
      stream_options: { include_usage: true },
    })
    let text = ''
    let usage
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta?.content ?? ''
      usage = chunk.usage ?? usage
    }
    assert.ok(whole.choices[0].message.content)
    assert.equal(text, whole.choices[0].message.content)
    assert.equal(usage.completion_tokens, whole.usage.completion_tokens)
  })
}

test('a response and a list of models are read', async () => {
  const model = HEARTH_FAR ?? 'stories260k'
  const response = await api.responses.create({ model, input: 'Once', max_output_tokens: 8 })
  assert.ok(response.output_text)
  const names = []
  for await (const entry of api.models.list()) names.push(entry.id)
  assert.ok(names.includes(model))
})

test('a model that is not there is an error of its own kind', async () => {
  await assert.rejects(api.chat.completions.create({ model: 'nothing', ...asked }), OpenAI.NotFoundError)
})

test('what no channel takes is refused in words', async () => {
  const drawn = api.images.generate({ model: 'stories260k', prompt: 'a cat' })
  await assert.rejects(drawn, (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError)
    assert.match(error.message, /images\/generations/)
    return true
  })
})
