// Colours code. The highlighter and each language are fetched when a block first asks for them.
import type { HLJSApi, LanguageFn } from 'highlight.js';

import { renderInto } from './sink';

type Loader = () => Promise<{ default: LanguageFn }>;

const loaders: Record<string, Loader> = {
  bash: () => import('highlight.js/lib/languages/bash'),
  c: () => import('highlight.js/lib/languages/c'),
  cpp: () => import('highlight.js/lib/languages/cpp'),
  csharp: () => import('highlight.js/lib/languages/csharp'),
  css: () => import('highlight.js/lib/languages/css'),
  diff: () => import('highlight.js/lib/languages/diff'),
  dockerfile: () => import('highlight.js/lib/languages/dockerfile'),
  go: () => import('highlight.js/lib/languages/go'),
  ini: () => import('highlight.js/lib/languages/ini'),
  java: () => import('highlight.js/lib/languages/java'),
  javascript: () => import('highlight.js/lib/languages/javascript'),
  json: () => import('highlight.js/lib/languages/json'),
  kotlin: () => import('highlight.js/lib/languages/kotlin'),
  lua: () => import('highlight.js/lib/languages/lua'),
  makefile: () => import('highlight.js/lib/languages/makefile'),
  markdown: () => import('highlight.js/lib/languages/markdown'),
  php: () => import('highlight.js/lib/languages/php'),
  powershell: () => import('highlight.js/lib/languages/powershell'),
  python: () => import('highlight.js/lib/languages/python'),
  r: () => import('highlight.js/lib/languages/r'),
  ruby: () => import('highlight.js/lib/languages/ruby'),
  rust: () => import('highlight.js/lib/languages/rust'),
  sql: () => import('highlight.js/lib/languages/sql'),
  swift: () => import('highlight.js/lib/languages/swift'),
  typescript: () => import('highlight.js/lib/languages/typescript'),
  xml: () => import('highlight.js/lib/languages/xml'),
  yaml: () => import('highlight.js/lib/languages/yaml'),
};

const aliases: Record<string, string> = {
  'c++': 'cpp',
  cs: 'csharp',
  console: 'bash',
  docker: 'dockerfile',
  golang: 'go',
  html: 'xml',
  js: 'javascript',
  jsx: 'javascript',
  kt: 'kotlin',
  make: 'makefile',
  md: 'markdown',
  ps1: 'powershell',
  py: 'python',
  rb: 'ruby',
  rs: 'rust',
  sh: 'bash',
  shell: 'bash',
  svg: 'xml',
  toml: 'ini',
  ts: 'typescript',
  tsx: 'typescript',
  yml: 'yaml',
  zsh: 'bash',
};

/** Longer code stays plain: colouring it would hold up the page. */
const limit_chars = 60_000;

let core: Promise<HLJSApi> | null = null;

async function highlighter(language: string, load: Loader): Promise<HLJSApi> {
  core ??= import('highlight.js/lib/core').then((module) => module.default);
  const api = await core;
  if (!api.getLanguage(language)) api.registerLanguage(language, (await load()).default);
  return api;
}

/** Colours `target`, which already shows `text` plainly. Does nothing for unknown languages. */
export async function highlight(target: Element, text: string, tag: string): Promise<void> {
  const name = tag.toLowerCase();
  const language = aliases[name] ?? name;
  if (!Object.hasOwn(loaders, language) || text.length > limit_chars) return;
  const load = loaders[language];
  if (!load) return;
  try {
    const api = await highlighter(language, load);
    if (target.textContent !== text) return; // The block went on while the language loaded.
    renderInto(target, api.highlight(text, { language, ignoreIllegals: true }).value);
  } catch {
    // Plain code is a good answer too, for instance when the network is gone.
  }
}
