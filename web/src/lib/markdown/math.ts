// Draws formulas as MathML, which browsers lay out themselves. KaTeX is fetched when first needed.
import { renderMath } from './sink';

let katex: Promise<typeof import('katex').default> | null = null;

async function draw(code: Element, tex: string, display: boolean): Promise<void> {
  katex ??= import('katex').then((module) => module.default);
  const markup = (await katex).renderToString(tex, {
    displayMode: display,
    output: 'mathml',
    throwOnError: true,
    strict: 'ignore',
    trust: false,
    maxExpand: 200,
    maxSize: 20,
  });
  if (!code.isConnected) return;
  const place = document.createElement(display ? 'div' : 'span');
  place.className = display ? 'math-display' : 'math';
  renderMath(place, markup);
  code.replaceWith(place);
}

/** Replaces the formulas in `block`. One that cannot be read stays as it is written. */
export function drawMath(block: Element): void {
  for (const code of block.querySelectorAll('code.language-math, code.language-math-display')) {
    if (code.closest('pre')) continue;
    const display = code.classList.contains('language-math-display');
    draw(code, code.textContent ?? '', display).catch(() => undefined);
  }
}
