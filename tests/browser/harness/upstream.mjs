// A provider on loopback whose answers come when a test says so: how fast a model of this machine
// writes depends on the machine.
import { createServer } from 'node:http';

/** Speaks OpenAI's dialect for one model. `say(text)` and `end()` go to the answer under way. */
export async function startUpstream(model) {
  let answer = null;
  const frame = (delta, finish_reason = null) => {
    const chunk = { id: 'x', object: 'chat.completion.chunk', created: 1, model };
    return `data: ${JSON.stringify({ ...chunk, choices: [{ index: 0, delta, finish_reason }] })}\n\n`;
  };
  const server = createServer((request, response) => {
    request.resume();
    if (request.method === 'GET') {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ object: 'list', data: [{ id: model, object: 'model' }] }));
      return;
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(frame({ role: 'assistant', content: 'Once upon a time' }));
    answer = response;
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}/v1`,
    say: (text) => answer.write(frame({ content: text })),
    end: () => answer.end(`${frame({}, 'stop')}data: [DONE]\n\n`),
    stop: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** Makes the server offer the upstream's model, and a chat with it; the chat's address. */
export async function chatWith(upstream, model, context, url) {
  const post = async (path, data) => {
    const response = await context.request.post(url + path, { data, headers: { origin: url } });
    if (!response.ok()) throw new Error(`${path}: ${await response.text()}`);
    return response.json();
  };
  await post('/hearth/channels', {
    name: 'far',
    type: 'openai-compatible',
    base_url: upstream.url,
    keys: ['sk-only-for-this-test'],
    settings: { models: [model], network: { allow_private: ['127.0.0.1'] } },
  });
  const { chat } = await post('/hearth/chats', { model });
  return `${url}/c/${chat.id}`;
}

/**
 * A provider that answers every question at once with the same words, and refuses all but these keys.
 * `asked` counts the questions.
 */
export async function startProvider({ models, keys, words }) {
  const upstream = { asked: 0 };
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += part;
    const reply = (status, value) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(value));
    };
    if (!keys.includes(request.headers.authorization?.replace('Bearer ', ''))) {
      return reply(401, { error: { message: 'no such key', code: 'invalid_api_key' } });
    }
    if (request.method === 'GET') {
      return reply(200, { object: 'list', data: models.map((id) => ({ id, object: 'model' })) });
    }
    upstream.asked += 1;
    return answer(JSON.parse(body), words, response);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  upstream.url = `http://127.0.0.1:${server.address().port}/v1`;
  upstream.stop = () => {
    server.closeAllConnections();
    server.close();
  };
  return upstream;
}

/** The same words at once, as a whole or as a stream. */
function answer({ model, stream }, words, response) {
  const about = { id: 'x', created: 1, model };
  const usage = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 };
  const message = { role: 'assistant', content: words };
  if (!stream) {
    const choices = [{ index: 0, message, finish_reason: 'stop' }];
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ ...about, object: 'chat.completion', choices, usage }));
    return;
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const chunk = (more) =>
    response.write(
      `data: ${JSON.stringify({ ...about, object: 'chat.completion.chunk', ...more })}\n\n`,
    );
  chunk({ choices: [{ index: 0, delta: message, finish_reason: null }] });
  chunk({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] });
  chunk({ choices: [], usage });
  response.end('data: [DONE]\n\n');
}
