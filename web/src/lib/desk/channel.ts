// The finer settings of a channel, as a form writes them.

/** `public name = the provider's own`, one a line. */
export function textOfMapping(mapping: Record<string, string>): string {
  return Object.entries(mapping)
    .map(([name, own]) => `${name} = ${own}`)
    .join('\n');
}

/** Reads it back; a line without an equals sign maps a name to itself. */
export function mappingOf(text: string): Record<string, string> {
  const pairs = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .map((line): [string, string] => {
      const at = line.indexOf('=');
      return at < 0 ? [line, line] : [line.slice(0, at).trim(), line.slice(at + 1).trim()];
    });
  return Object.fromEntries(pairs.filter(([name, own]) => name !== '' && own !== ''));
}

/** Each name with null, which takes it out of what a change is merged into. */
export function gone(mapping: Record<string, string>): Record<string, null> {
  return Object.fromEntries(Object.keys(mapping).map((name) => [name, null]));
}

const private_hosts =
  /^(localhost|.*\.(local|internal|lan)|(127|10)(\.\d+){3}|192\.168(\.\d+){2}|172\.(1[6-9]|2\d|3[01])(\.\d+){2}|\[::1\]|\[f[cd].*\])$/;

/** The host of an address that surely lies in a private network; null of all others. */
export function privateHostOf(address: string): string | null {
  if (!URL.canParse(address)) return null;
  const { hostname } = new URL(address);
  return private_hosts.test(hostname) ? hostname : null;
}
