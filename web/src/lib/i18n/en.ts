// English words. The other languages have exactly these keys; a test and the types see to it.
import { chat } from './en/chat';
import { desk } from './en/desk';
import { errors } from './en/errors';
import { people } from './en/people';
import { server } from './en/server';

export const en = { ...chat, ...desk, ...people, ...server, ...errors } as const;

export type Key = keyof typeof en;
export type Words = Record<Key, string>;
