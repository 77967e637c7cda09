// Splits a growing answer into top-level blocks and renders each once. Only the last block can still
// change while text is appended, so a long answer costs the same per update as a short one.
import markdownIt from 'markdown-it';

import { showReordering } from './bidi';
import { addMath } from './mathRules';

export interface Block {
  /** Sanitise before use: this is what the markdown says, not yet what may be shown. */
  html: string;
  /** Set for a fenced or indented code block at the top level. */
  code: { language: string; text: string } | null;
  /** The line of the source the block starts at. */
  line: number;
}

// html: false is the first wall; the sink is the second.
const markdown = markdownIt({ html: false, linkify: true, breaks: false, maxNesting: 40 });

addMath(markdown);

// A picture from the network would tell its owner that the chat was read. It becomes a link.
markdown.renderer.rules['image'] = (tokens, index) => {
  const token = tokens[index];
  const source = String(token?.attrGet('src') ?? '');
  const label = markdown.utils.escapeHtml(token?.content || source);
  const address = markdown.utils.escapeHtml(source);
  return source.startsWith('data:')
    ? `<img src="${address}" alt="${label}">`
    : `<a href="${address}">${label}</a>`;
};

// Columns are aligned by an attribute: an inline style would break the content security policy.
for (const cell of ['th_open', 'td_open']) {
  markdown.renderer.rules[cell] = (tokens, index) => {
    const side = /left|center|right/.exec(String(tokens[index]?.attrGet('style') ?? ''))?.[0];
    return `<${cell.slice(0, 2)}${side ? ` align="${side}"` : ''}>`;
  };
}

type Tokens = ReturnType<typeof markdown.parse>;
/** Where links that are defined elsewhere in the text are remembered. */
type Env = NonNullable<Parameters<typeof markdown.parse>[1]>;

function blockOf(tokens: Tokens, env: Env, first_line: number): Block {
  const head = tokens[0];
  const isCode = tokens.length === 1 && (head?.type === 'fence' || head?.type === 'code_block');
  const language = (head?.info ?? '').trim().split(/\s+/)[0] ?? '';
  return {
    html: isCode ? '' : markdown.renderer.render(tokens, markdown.options, env),
    code: isCode && head ? { language, text: head.content } : null,
    line: first_line + (head?.map?.[0] ?? 0),
  };
}

function parse(source: string, env: Env, first_line: number): Block[] {
  const blocks: Block[] = [];
  let group: Tokens = [];
  for (const token of markdown.parse(source, env)) {
    group.push(token);
    const closes = token.level === 0 && token.nesting <= 0 && token.type !== 'inline';
    if (closes) {
      blocks.push(blockOf(group, env, first_line));
      group = [];
    }
  }
  return blocks;
}

/** The offset in `text` at which line `line` starts, counting from `offset` at line `from`. */
function offsetOfLine(text: string, line: number, from: number, offset: number): number {
  let at = offset;
  for (let current = from; current < line; current += 1) at = text.indexOf('\n', at) + 1;
  return at;
}

/** Renders one message. `update` takes the whole text each time and does only the new work. */
export class BlockRenderer {
  #source = '';
  #settled: Block[] = [];
  #env: Env = {};
  #tail_offset = 0;
  #tail_line = 0;

  /** The blocks of `whole`. Give `done` when nothing follows: links defined late then resolve. */
  update(whole: string, done: boolean): Block[] {
    // One kind of line end, so that line numbers and offsets agree.
    const text = whole.includes('\r') ? whole.replace(/\r\n?/g, '\n') : whole;
    if (done || !text.startsWith(this.#source)) this.#reset();
    this.#source = text;
    const tail = showReordering(text.slice(this.#tail_offset));
    const blocks = parse(tail, this.#env, this.#tail_line);
    const all = [...this.#settled, ...blocks];
    const last = blocks.at(-1);
    if (last && blocks.length > 1 && !done) {
      this.#settled = all.slice(0, -1);
      this.#tail_offset = offsetOfLine(text, last.line, this.#tail_line, this.#tail_offset);
      this.#tail_line = last.line;
    }
    return all;
  }

  #reset(): void {
    this.#settled = [];
    this.#env = {};
    this.#tail_offset = 0;
    this.#tail_line = 0;
  }
}
