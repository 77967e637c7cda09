// The call of the playground in other languages. The token is left for its owner to fill in.

export type SnippetName = 'curl' | 'python' | 'javascript';

/** JSON between single quotes of a shell. */
function shellQuoted(json: string): string {
  return `'${json.replace(/'/g, `'\\''`)}'`;
}

/** JSON as Python writes it. */
function asPython(value: unknown, indent = ''): string {
  if (value === null || value === undefined) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value !== 'object') return JSON.stringify(value);
  const deeper = `${indent}    `;
  if (Array.isArray(value)) {
    const items = value.map((item) => `${deeper}${asPython(item, deeper)},\n`);
    return items.length === 0 ? '[]' : `[\n${items.join('')}${indent}]`;
  }
  const items = Object.entries(value).map(
    ([key, item]) => `${deeper}${JSON.stringify(key)}: ${asPython(item, deeper)},\n`,
  );
  return items.length === 0 ? '{}' : `{\n${items.join('')}${indent}}`;
}

export const snippets: Record<SnippetName, (origin: string, body: object) => string> = {
  curl: (origin, body) =>
    [
      `curl ${origin}/v1/chat/completions \\`,
      `  -H "Authorization: Bearer $HEARTH_TOKEN" \\`,
      `  -H "Content-Type: application/json" \\`,
      `  -d ${shellQuoted(JSON.stringify(body, null, 2))}`,
    ].join('\n'),
  python: (origin, body) =>
    [
      'import os',
      'from openai import OpenAI',
      '',
      `client = OpenAI(base_url=${JSON.stringify(`${origin}/v1`)}, api_key=os.environ["HEARTH_TOKEN"])`,
      `answer = client.chat.completions.create(**${asPython(body)})`,
      'print(answer.choices[0].message.content)',
    ].join('\n'),
  javascript: (origin, body) =>
    [
      "import OpenAI from 'openai';",
      '',
      `const client = new OpenAI({ baseURL: ${JSON.stringify(`${origin}/v1`)}, apiKey: process.env.HEARTH_TOKEN });`,
      `const answer = await client.chat.completions.create(${JSON.stringify(body, null, 2)});`,
      'console.log(answer.choices[0].message.content);',
    ].join('\n'),
};
