// The only door through which HTML enters the page. Everything that a model, a file or a person wrote
// passes DOMPurify here; the result is appended as nodes, never assigned as a string.
import DOMPurify, { type Config } from 'dompurify';

const tags = [
  ...['p', 'br', 'hr', 'h1', 'h2', 'h3', 'h4', 'h5', 'h6', 'blockquote', 'ul', 'ol', 'li'],
  ...['pre', 'code', 'em', 'strong', 's', 'del', 'a', 'img', 'span'],
  ...['table', 'thead', 'tbody', 'tr', 'th', 'td'],
];
const attributes = ['href', 'title', 'src', 'alt', 'class', 'start', 'align'];

/** Absolute web and mail addresses only: no scheme that runs something, no address of this server. */
const link = /^(?:https?:\/\/|mailto:)/i;
/** Images only when they travel inside the text; SVG is left out because it can carry scripts. */
const image = /^data:image\/(?:png|jpeg|gif|webp);base64,[a-z0-9+/=\s]+$/i;
const classes = /^(?:language-[\w+#.-]+|hljs(?:-[\w-]+)?|[a-z]+_)$/;

/** The service worker. */
const worker = '/sw.js';

// DOMPurify parses with this policy and calls back into it, so it hands strings through. It stays
// inside this file: no other code can make trusted HTML.
const policy = window.trustedTypes?.createPolicy('hearth', {
  createHTML: (html) => html,
  createScript: () => '',
  // The one script that may be named.
  createScriptURL: (address: string) => (address === worker ? worker : ''),
});

/** The address of the service worker, as the browser takes it. */
export const workerAddress = policy ? policy.createScriptURL(worker) : worker;

const config: Config & { RETURN_DOM_FRAGMENT: true } = {
  ALLOWED_TAGS: tags,
  ALLOWED_ATTR: attributes,
  // Not addresses, so the address rule below does not apply to them.
  ADD_URI_SAFE_ATTR: ['align', 'start'],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  ALLOWED_URI_REGEXP: /^(?:https?:\/\/|mailto:|data:image\/)/i,
  RETURN_DOM_FRAGMENT: true,
  ...(policy ? { TRUSTED_TYPES_POLICY: policy } : {}),
};

/** What KaTeX makes of a formula. No annotation: that is a door to other kinds of markup. */
const mathConfig: typeof config = {
  ...config,
  ALLOWED_TAGS: [
    ...['math', 'semantics', 'mrow', 'mi', 'mn', 'mo', 'ms', 'mtext', 'mspace', 'msup', 'msub'],
    ...['msubsup', 'mfrac', 'msqrt', 'mroot', 'mover', 'munder', 'munderover', 'mtable', 'mtr'],
    ...['mtd', 'mstyle', 'mpadded', 'mphantom', 'menclose', 'span'],
  ],
  ALLOWED_ATTR: [
    ...['display', 'displaystyle', 'scriptlevel', 'mathvariant', 'stretchy', 'fence', 'separator'],
    ...['lspace', 'rspace', 'minsize', 'maxsize', 'accent', 'accentunder', 'symmetric', 'width'],
    ...['height', 'depth', 'voffset', 'notation', 'linethickness', 'movablelimits', 'xmlns'],
    ...['columnalign', 'columnspacing', 'rowspacing', 'columnlines', 'rowlines'],
  ],
};

function keepSafeAttributes(element: Element): void {
  const href = element.getAttribute('href');
  if (element.localName === 'a' && href !== null && link.test(href)) {
    element.setAttribute('target', '_blank');
    element.setAttribute('rel', 'noopener noreferrer nofollow');
  } else {
    element.removeAttribute('href');
  }
  if (element.localName !== 'img' || !image.test(element.getAttribute('src') ?? '')) {
    element.removeAttribute('src');
  }
  const kept = [...element.classList].filter((name) => classes.test(name));
  if (kept.length > 0) element.setAttribute('class', kept.join(' '));
  else element.removeAttribute('class');
}

const purify = DOMPurify(window);
purify.addHook('afterSanitizeAttributes', keepSafeAttributes);

/** Sanitises `html` and makes it the only content of `target`. */
export function renderInto(target: Element, html: string): void {
  target.replaceChildren(purify.sanitize(html, config));
}

/** Sanitises a formula and makes it the only content of `target`. */
export function renderMath(target: Element, markup: string): void {
  const bare = markup.replace(/<annotation\b[\s\S]*?<\/annotation>/g, '');
  target.replaceChildren(purify.sanitize(bare, mathConfig));
}
