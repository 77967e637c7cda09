// What a browser calls itself, in few words: `Firefox · Linux`.

// The first that fits: Chrome's name stands in Edge's and Opera's, Safari's in almost all.
const browsers: [RegExp, string][] = [
  [/Edg(e|A|iOS)?\//, 'Edge'],
  [/OPR\//, 'Opera'],
  [/SamsungBrowser\//, 'Samsung Internet'],
  [/(Firefox|FxiOS)\//, 'Firefox'],
  [/(Headless)?Chrome\/|CriOS\//, 'Chrome'],
  [/Safari\//, 'Safari'],
  [/^curl\//, 'curl'],
];
const systems: [RegExp, string][] = [
  [/iPhone|iPad/, 'iOS'],
  [/Android/, 'Android'],
  [/Windows/, 'Windows'],
  [/Mac OS X|Macintosh/, 'macOS'],
  [/CrOS/, 'ChromeOS'],
  [/Linux/, 'Linux'],
];

/** The browser and its system; null where neither is known. */
export function browserOf(agent: string | null): string | null {
  if (!agent) return null;
  const of = (known: [RegExp, string][]): string | undefined =>
    known.find(([pattern]) => pattern.test(agent))?.[1];
  const words = [of(browsers), of(systems)].filter((word) => word !== undefined);
  return words.length > 0 ? words.join(' · ') : null;
}
