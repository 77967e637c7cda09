// Simplified Chinese words.
import type { Words } from './en';
import { chat } from './zh/chat';
import { desk } from './zh/desk';
import { errors } from './zh/errors';
import { people } from './zh/people';
import { server } from './zh/server';

export const zh: Words = { ...chat, ...desk, ...people, ...server, ...errors };
