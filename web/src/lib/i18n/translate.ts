// Looks words up and fills in their places. Pure: the chosen language lives in lang.svelte.ts.

export type Params = Record<string, string | number>;

/** Replaces `{name}` by the parameter of that name; an unknown name stays visible. */
export function fill(text: string, params: Params | undefined): string {
  if (!params) return text;
  return text.replace(/\{(\w+)\}/g, (whole, name: string) =>
    Object.hasOwn(params, name) ? String(params[name]) : whole,
  );
}

/** A count of bytes as people write it: 3.8 MB. Decimal units, as disks and cards are sold. */
export function formatBytes(bytes: number, locale: string): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit > 0 && value < 100 ? 1 : 0;
  const number = value.toLocaleString(locale, { maximumFractionDigits: digits });
  return `${number} ${units[unit] ?? ''}`;
}

/** A large count in short: 1.2M, 260K. */
export function formatCount(count: number): string {
  return count.toLocaleString('en', { notation: 'compact', maximumFractionDigits: 1 });
}
