// Simplified Chinese words.
import type { Words } from './en';
import { chat } from './zh/chat';
import { desk } from './zh/desk';
import { errors } from './zh/errors';

export const zh: Words = { ...chat, ...desk, ...errors };
