// Finds formulas in markdown: $…$ and \(…\) within a line, $$…$$ and \[…\] by themselves.
import type markdownIt from 'markdown-it';

/** Longer ones are shown as they are written. */
const limit_chars = 5000;

type Markdown = ReturnType<typeof markdownIt>;
type InlineRule = Parameters<Markdown['inline']['ruler']['push']>[1];
type BlockRule = Parameters<Markdown['block']['ruler']['push']>[1];

/** Where the formula that begins at `from` ends, or -1. */
function endOf(text: string, from: number, close: string): number {
  for (let at = text.indexOf(close, from); at >= 0; at = text.indexOf(close, at + 1)) {
    if (at - from > limit_chars) return -1;
    if (close === '$' && text[at - 1] === '\\') continue;
    return at;
  }
  return -1;
}

/** Whether text between dollars is a formula: `$5 and $6` is not. */
function isFormula(text: string, next: string | undefined): boolean {
  return text.trim() === text && text !== '' && !/\d/.test(next ?? '');
}

const inline: InlineRule = (state, silent) => {
  const { src, pos } = state;
  const open = ['$$', '\\(', '\\[', '$'].find((sign) => src.startsWith(sign, pos));
  if (open === undefined) return false;
  const close = { $$: '$$', '\\(': '\\)', '\\[': '\\]', $: '$' }[open] ?? '$';
  const start = pos + open.length;
  const end = endOf(src, start, close);
  if (end < 0) return false;
  const content = src.slice(start, end);
  if (open === '$' && !isFormula(content, src[end + 1])) return false;
  if (!silent) {
    const token = state.push('math', 'code', 0);
    token.content = content.trim();
    token.info = open === '$' || open === '\\(' ? '' : 'display';
  }
  state.pos = end + close.length;
  return true;
};

const block: BlockRule = (state, startLine, endLine, silent) => {
  const start = (state.bMarks[startLine] ?? 0) + (state.tShift[startLine] ?? 0);
  const first = state.src.slice(start, state.eMarks[startLine]);
  const open = ['$$', '\\['].find((sign) => first.startsWith(sign));
  if (open === undefined) return false;
  const close = open === '$$' ? '$$' : '\\]';
  let line = startLine;
  let text = first.slice(open.length);
  while (!text.trimEnd().endsWith(close)) {
    line += 1;
    if (line >= endLine || text.length > limit_chars) return false;
    const from = (state.bMarks[line] ?? 0) + (state.tShift[line] ?? 0);
    text += `\n${state.src.slice(from, state.eMarks[line])}`;
  }
  if (silent) return true;
  const token = state.push('math', 'code', 0);
  token.content = text.trimEnd().slice(0, -close.length).trim();
  token.info = 'display';
  token.block = true;
  token.map = [startLine, line + 1];
  state.line = line + 1;
  return true;
};

/** Teaches `markdown` formulas. They come out as code, which `math.ts` draws. */
export function addMath(markdown: Markdown): void {
  markdown.inline.ruler.before('escape', 'math', inline);
  markdown.block.ruler.before('fence', 'math', block, {
    alt: ['paragraph', 'blockquote', 'list'],
  });
  markdown.renderer.rules['math'] = (tokens, index) => {
    const token = tokens[index];
    const name = token?.info === 'display' ? 'language-math-display' : 'language-math';
    const code = `<code class="${name}">${markdown.utils.escapeHtml(token?.content ?? '')}</code>`;
    return token?.block ? `<p>${code}</p>` : code;
  };
}
