import { describe, expect, it } from 'vitest';

import { toMarkdown, toOpenWebui, type WholeChat } from './export';
import { inBatches, readExport } from './import';

const now = 1_700_000_000;

const chatgpt = [
  {
    title: 'Trip',
    create_time: 1_690_000_000.5,
    update_time: 1_690_000_100,
    current_node: 'd',
    mapping: {
      root: { id: 'root', message: null, parent: null, children: ['a'] },
      a: {
        id: 'a',
        parent: 'root',
        message: { author: { role: 'system' }, content: { parts: [''] } },
      },
      b: {
        id: 'b',
        parent: 'a',
        message: {
          author: { role: 'user' },
          create_time: 1_690_000_001,
          content: { content_type: 'text', parts: ['Where to?', { text: 'and when' }, 7] },
        },
      },
      d: {
        id: 'd',
        parent: 'b',
        message: {
          author: { role: 'assistant' },
          metadata: { model_slug: 'gpt-x' },
          content: { parts: ['Rome <script>alert(1)</script>'] },
        },
      },
    },
  },
];

describe('readExport', () => {
  it('reads ChatGPT’s tree and steps over what says nothing', () => {
    const [chat] = readExport(JSON.stringify(chatgpt), now);
    expect(chat).toMatchObject({ title: 'Trip', created_at: 1_690_000_000, current: 'd' });
    expect(chat?.messages).toEqual([
      {
        id: 'b',
        parent_id: null,
        role: 'user',
        content: 'Where to?\n\nand when',
        created_at: 1_690_000_001,
      },
      {
        id: 'd',
        parent_id: 'b',
        role: 'assistant',
        content: 'Rome <script>alert(1)</script>',
        model: 'gpt-x',
        created_at: 1_690_000_000,
      },
    ]);
  });

  it('reads its own export, which is Open WebUI’s', () => {
    const message = {
      status: 'complete',
      finish_reason: null,
      usage: null,
      error: null,
      created_at: 5,
    } as const;
    const whole: WholeChat = {
      chat: {
        id: 'c',
        title: 'Mine',
        model: 'm',
        current_message_id: 'a2',
        folder_id: null,
        pinned: true,
        archived: false,
        settings: {},
        created_at: 4,
        updated_at: 6,
      },
      messages: [
        { ...message, id: 'q', parent_id: null, role: 'user', content: 'Why?', model: null },
        { ...message, id: 'a1', parent_id: 'q', role: 'assistant', content: 'One', model: 'm' },
        {
          ...message,
          id: 'a2',
          parent_id: 'q',
          role: 'assistant',
          content: 'Two',
          reasoning: 'hm',
          model: 'm',
        },
      ],
    };
    const [chat] = readExport(toOpenWebui([whole]), now);
    expect(chat).toMatchObject({ title: 'Mine', pinned: true, current: 'a2', model: 'm' });
    expect(chat?.messages.map(({ id, parent_id, content }) => [id, parent_id, content])).toEqual([
      ['q', null, 'Why?'],
      ['a1', 'q', 'One'],
      ['a2', 'q', 'Two'],
    ]);
    expect(chat?.messages[2]?.reasoning).toBe('hm');
    expect(toMarkdown(whole)).toContain('## You\n\nWhy?');
  });

  it('finds nothing in what is something else, and survives circles', () => {
    for (const text of ['', 'null', '[]', '{"a":1}', 'not json', '[{"mapping":5}]', '[[1]]']) {
      expect(readExport(text, now), text).toEqual([]);
    }
    const circle = {
      chat: {
        history: {
          messages: {
            a: { role: 'user', content: 'x', parentId: 'b' },
            b: { role: 'assistant', content: 'y', parentId: 'a' },
          },
        },
      },
    };
    expect(readExport(JSON.stringify([circle]), now)).toEqual([]);
  });
});

describe('inBatches', () => {
  it('keeps each request small', () => {
    const chat = (length: number) => ({
      title: 't',
      created_at: 1,
      updated_at: 1,
      messages: [
        {
          id: 'a',
          parent_id: null,
          role: 'user' as const,
          content: 'x'.repeat(length),
          created_at: 1,
        },
      ],
    });
    expect(inBatches([chat(10), chat(10), chat(2_000_000), chat(10)]).map((b) => b.length)).toEqual(
      [2, 1, 1],
    );
    expect(inBatches(Array.from({ length: 120 }, () => chat(1))).map((b) => b.length)).toEqual([
      50, 50, 20,
    ]);
  });
});
