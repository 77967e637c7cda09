// Dresses sanitised blocks: a bar with language and copy button on code, a scrolling frame on tables.
// Nodes are made by hand here, so model text can never name a class, an event or an attribute.
import { highlight } from './highlight';
import { drawMath } from './math';

/** The words the page's language gives; passed in so that this file knows no state. */
export interface Words {
  copy: string;
  copied: string;
  code: string;
  table: string;
}

const copied_shown_ms = 1500;

function copyButton(text: () => string, words: Words): HTMLButtonElement {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'code-copy';
  button.textContent = words.copy;
  button.addEventListener('click', () => {
    void navigator.clipboard.writeText(text()).then(() => {
      button.textContent = words.copied;
      setTimeout(() => (button.textContent = words.copy), copied_shown_ms);
    });
  });
  return button;
}

function makeScrollable(element: HTMLElement, label: string): void {
  element.tabIndex = 0;
  element.setAttribute('role', 'group');
  element.setAttribute('aria-label', label);
}

/** Puts the frame around `pre`, in place. */
export function frameCode(pre: HTMLPreElement, language: string, words: Words): void {
  const frame = document.createElement('div');
  frame.className = 'code';
  const bar = document.createElement('div');
  bar.className = 'code-bar';
  const label = document.createElement('span');
  label.textContent = language || words.code;
  bar.append(
    label,
    copyButton(() => pre.textContent ?? '', words),
  );
  pre.replaceWith(frame);
  frame.append(bar, pre);
  makeScrollable(pre, language ? `${words.code}: ${language}` : words.code);
}

/** Makes the frame and the elements for a top-level code block. */
export function codeBlock(language: string, words: Words): { frame: Element; code: Element } {
  const holder = document.createElement('div');
  const pre = document.createElement('pre');
  const code = document.createElement('code');
  pre.append(code);
  holder.append(pre);
  frameCode(pre, language, words);
  return { frame: holder.firstElementChild ?? holder, code };
}

/** A table as spreadsheets take it from the clipboard: a tab between cells. */
function tableText(table: HTMLTableElement): string {
  const cell = (element: Element): string =>
    (element.textContent ?? '').replace(/\s+/g, ' ').trim();
  return [...table.rows].map((row) => [...row.cells].map(cell).join('\t')).join('\n');
}

function languageOf(code: Element | null): string {
  const name = [...(code?.classList ?? [])].find((entry) => entry.startsWith('language-'));
  return name?.slice('language-'.length) ?? '';
}

/** Dresses what `renderInto` put into `block`. `settled`: the text will not change any more. */
export function enhance(block: Element, words: Words, settled: boolean): void {
  for (const pre of block.querySelectorAll('pre')) {
    const code = pre.querySelector('code');
    const language = languageOf(code);
    frameCode(pre, language, words);
    if (code && settled) void highlight(code, code.textContent ?? '', language);
  }
  for (const table of block.querySelectorAll('table')) {
    const whole = document.createElement('div');
    whole.className = 'table';
    const frame = document.createElement('div');
    frame.className = 'table-frame';
    table.replaceWith(whole);
    frame.append(table);
    whole.append(
      frame,
      copyButton(() => tableText(table), words),
    );
    makeScrollable(frame, words.table);
  }
  if (settled) drawMath(block);
}
