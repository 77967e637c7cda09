// For development only: a stand-in for the server, with everything in memory, so that pages can be
// drawn without one. Serves dist/ with the policy the real server sends.
//   npm run build && node dev/mock-server.mjs [port]      sign in with any name, password "password"
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const dist = fileURLToPath(new URL('../dist', import.meta.url));
const types = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.webmanifest': 'application/manifest+json',
};
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "font-src 'self'",
  "manifest-src 'self'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  'trusted-types hearth',
].join('; ');

const now = () => Math.floor(Date.now() / 1000);
const day = 86_400;
const person = (id, name, role, disabled = false) => ({
  id,
  name,
  role,
  disabled,
  language: null,
  theme: 'system',
  default_model: null,
  created_at: now() - id * day,
});
const model = (name, rest) => ({
  name,
  source: 'imported',
  format: 'gguf',
  architecture: 'llama',
  quantization: 'Q8_0',
  parameters: 3_200_000,
  size_bytes: 3_800_000,
  context_tokens: 1024,
  state: 'idle',
  chat: true,
  note: null,
  created_at: now(),
  ...rest,
});

// Few things, as on a first day; otherwise many, to see long lists and long names.
const lean = process.env.MOCK_LEAN === '1';

const cookie = 'hearth_session=mock; HttpOnly; SameSite=Strict; Path=/';

const state = {
  setup: process.env.MOCK_SETUP === '1',
  password: 'password',
  users: [
    person(1, 'ada', 'admin'),
    person(2, 'a-colleague-with-a-really-long-account-name-that-goes-on', 'user'),
    person(3, '王小明', 'user', true),
  ],
  tokens: [],
  models: [
    model('hearth-guide', {
      source: 'builtin',
      state: 'loaded',
      note: 'A tiny guide to Hearth. It knows nothing else.',
    }),
    model('qwen3-8b-instruct-q4_k_m-with-a-name-nobody-would-choose-freely', {
      architecture: 'qwen3',
      quantization: 'Q4_K_M',
      parameters: 8_190_000_000,
      size_bytes: 5_030_000_000,
      context_tokens: 40_960,
    }),
    model('stories260k', {
      quantization: 'F32',
      parameters: 260_000,
      size_bytes: 1_100_000,
      chat: false,
    }),
  ],
  chats: new Map(),
};

if (lean) {
  state.users.length = 1;
  state.models.length = 1;
  state.models[0].state = 'idle';
}

const answer = await readFile(new URL('./answer.md', import.meta.url), 'utf8');

function addChat(title, age, modelName = 'hearth-guide') {
  const chat = {
    id: randomUUID(),
    title,
    model: modelName,
    current_message_id: null,
    created_at: now() - age,
    updated_at: now() - age,
  };
  state.chats.set(chat.id, { chat, messages: [] });
  return state.chats.get(chat.id);
}

function addMessage(entry, role, parent_id, content = '') {
  const message = {
    id: randomUUID(),
    parent_id,
    role,
    content,
    model: role === 'assistant' ? entry.chat.model : null,
    status: 'complete',
    finish_reason: null,
    usage: null,
    error: null,
    created_at: now(),
  };
  entry.messages.push(message);
  entry.chat.current_message_id = message.id;
  entry.chat.updated_at = now();
  return message;
}

for (let i = 0; i < (lean ? 0 : 70); i += 1) {
  const titles = [
    'How do I add a model?',
    '帮我把这段很长很长的中文标题压缩到侧边栏能放得下的长度',
    'Rust lifetimes explained',
    'Pneumonoultramicroscopicsilicovolcanoconiosis-and-other-long-words',
    'Weekly report',
  ];
  addChat(`${titles[i % titles.length]}${i > 4 ? ` ${i}` : ''}`, i < 3 ? i * 600 : i * 0.7 * day);
}

const send = (response, status, body) => {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(body === undefined ? undefined : JSON.stringify(body));
};
const refuse = (response, status, code, message = code) =>
  send(response, status, { error: { code, message, request_id: randomUUID() } });
const summary = ({ id, title, model: name, created_at, updated_at }) => ({
  id,
  title,
  model: name,
  created_at,
  updated_at,
});

async function turn(request, response, entry, body) {
  if (body.content === '/busy') return refuse(response, 429, 'busy');
  if (body.content === '/expire') {
    response.setHeader('set-cookie', 'hearth_session=; Max-Age=0; Path=/');
    return refuse(response, 401, 'sign_in_required');
  }
  let user = null;
  let parent;
  if (body.regenerate) parent = entry.messages.find((m) => m.id === body.regenerate).parent_id;
  else {
    const at = body.parent_id === undefined ? entry.chat.current_message_id : body.parent_id;
    user = addMessage(entry, 'user', at, body.content);
    parent = user.id;
  }
  const assistant = addMessage(entry, 'assistant', parent);
  if (body.model) assistant.model = entry.chat.model = body.model;
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const event = (name, data) => response.write(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
  event('started', { chat: entry.chat, user_message: user, assistant_message: assistant });
  const text = { '/short': 'A short answer.', '/long': answer.repeat(40) }[body.content] ?? answer;
  const pieces = text.match(/[\s\S]{1,4}/g);
  const began = Date.now();
  let gone = false;
  response.on('close', () => (gone = true));
  for (const piece of pieces) {
    await new Promise((resolve) => setTimeout(resolve, Number(process.env.MOCK_TOKEN_MS ?? 10)));
    if (gone) {
      assistant.status = 'stopped';
      return undefined;
    }
    if (body.content === '/cut' && assistant.content.length > 60) return response.destroy();
    if (body.content === '/fail' && assistant.content.length > 60) {
      assistant.status = 'failed';
      const error = { code: 'internal', message: 'The model stopped working.' };
      event('failed', { assistant_message: { ...assistant, error }, error });
      return response.end();
    }
    assistant.content += piece;
    event('delta', { text: piece });
  }
  assistant.finish_reason = 'stop';
  assistant.usage = {
    prompt_tokens: 31,
    completion_tokens: pieces.length,
    first_token_ms: 84,
    total_ms: Date.now() - began,
  };
  if (entry.chat.title === '') entry.chat.title = (body.content ?? 'Chat').slice(0, 60);
  event('finished', { assistant_message: assistant, chat: entry.chat });
  return response.end();
}

async function chats(request, response, url, body) {
  const [, , , id, action] = url.pathname.split('/');
  if (!id && request.method === 'POST') {
    const entry = addChat('', 0, body.model);
    return send(response, 201, { chat: entry.chat });
  }
  if (!id) {
    const all = [...state.chats.values()].map(({ chat }) => summary(chat));
    all.sort((a, b) => b.updated_at - a.updated_at);
    const from = Number(url.searchParams.get('before') ?? 0);
    const next = from + 50 < all.length ? String(from + 50) : null;
    return send(response, 200, { chats: all.slice(from, from + 50), next });
  }
  const entry = state.chats.get(id);
  if (!entry) return refuse(response, 404, 'not_found');
  if (action === 'turns') return turn(request, response, entry, body);
  if (request.method === 'PATCH') Object.assign(entry.chat, body);
  if (request.method === 'DELETE') {
    state.chats.delete(id);
    return send(response, 204);
  }
  return send(response, 200, entry);
}

function account(request, response, url, body) {
  const me = state.users[0];
  const key = `${request.method} ${url.pathname}`;
  if (key === 'GET /hearth/status') {
    return send(response, 200, {
      version: '0.1.0',
      setup_required: state.setup,
      languages: ['en', 'zh'],
    });
  }
  if (key === 'POST /hearth/setup') {
    if (body.code !== 'CODE') return refuse(response, 403, 'wrong_setup_code');
    state.setup = false;
    state.password = body.password;
    response.setHeader('set-cookie', cookie);
    return send(response, 201, { user: me });
  }
  if (key === 'POST /hearth/session') {
    if (body.password !== state.password) return refuse(response, 401, 'wrong_credentials');
    response.setHeader('set-cookie', cookie);
    return send(response, 200, { user: me });
  }
  if (!request.headers.cookie?.includes('hearth_session=mock'))
    return refuse(response, 401, 'sign_in_required');
  if (key === 'GET /hearth/session') return send(response, 200, { user: me });
  if (key === 'PATCH /hearth/me') return send(response, 200, { user: Object.assign(me, body) });
  if (key === 'DELETE /hearth/session') {
    response.setHeader('set-cookie', 'hearth_session=; Max-Age=0; Path=/');
    return send(response, 204);
  }
  return false;
}

function machine() {
  return {
    cores: 16,
    memory_bytes: 67_000_000_000,
    memory_free_bytes: 41_000_000_000,
    process_memory_bytes: 310_000_000,
    gpus: [
      {
        name: 'NVIDIA H100 80GB HBM3',
        memory_bytes: 85_000_000_000,
        memory_free_bytes: 5_000_000_000,
      },
    ],
    models_loaded: [
      {
        name: 'hearth-guide',
        memory_bytes: 9_000_000,
        running: 1,
        waiting: 0,
        kv_pages_used: 12,
        kv_pages_total: 256,
      },
    ],
  };
}

function desk(request, response, url, body) {
  const [, , room, id, action] = url.pathname.split('/').map(decodeURIComponent);
  const { method } = request;
  if (room === 'machine') return send(response, 200, machine());
  if (room === 'users') {
    if (method === 'GET') return send(response, 200, { users: state.users });
    if (method === 'POST') {
      if (state.users.some((u) => u.name === body.name)) return refuse(response, 409, 'name_taken');
      state.users.push(person(state.users.length + 1, body.name, body.role));
      return send(response, 201, { user: state.users.at(-1) });
    }
    const user = state.users.find((u) => u.id === Number(id));
    if (user.id === 1) return refuse(response, 409, 'last_admin');
    return send(response, 200, { user: Object.assign(user, body) });
  }
  if (room === 'tokens') {
    if (method === 'GET') return send(response, 200, { tokens: state.tokens });
    if (method === 'DELETE') {
      state.tokens = state.tokens.filter((token) => token.id !== Number(id));
      return send(response, 204);
    }
    const token = {
      id: state.tokens.length + 1,
      user: 'ada',
      prefix: 'sk-hearth-ab12…',
      created_at: now(),
      last_used_at: null,
      expires_at: null,
      models: null,
      allow_ips: null,
      ...body,
    };
    state.tokens.push(token);
    return send(response, 201, { token, secret: `sk-hearth-${randomUUID()}` });
  }
  if (method === 'GET')
    return send(response, 200, { models: state.models, default_model: 'hearth-guide' });
  const found = state.models.find((entry) => entry.name === id);
  if (action) found.state = action === 'load' ? 'loaded' : 'idle';
  return send(response, 200, { model: found });
}

async function page(response, url) {
  const path = normalize(url.pathname);
  const name = extname(path) ? path : '/index.html';
  try {
    const bytes = await readFile(join(dist, name));
    response.writeHead(200, {
      'content-type': types[extname(name)] ?? 'application/octet-stream',
      'content-security-policy': policy,
      'x-content-type-options': 'nosniff',
    });
    response.end(bytes);
  } catch {
    refuse(response, 404, 'not_found');
  }
}

const server = createServer(async (request, response) => {
  const url = new URL(request.url, 'http://localhost');
  if (url.pathname === '/readyz') return send(response, 200, 'ok');
  if (!url.pathname.startsWith('/hearth/')) return page(response, url);
  let text = '';
  for await (const chunk of request) text += chunk;
  const body = text === '' ? {} : JSON.parse(text);
  if (account(request, response, url, body) !== false) return undefined;
  if (url.pathname.startsWith('/hearth/chats')) return chats(request, response, url, body);
  return desk(request, response, url, body);
});
server.listen(Number(process.argv[2] ?? 8080), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
