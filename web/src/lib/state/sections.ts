// What each section of the desk is called.
import type { Key } from '../i18n/en';
import type { AdminSection, SettingsSection } from './router.svelte';

export const sectionWords: Record<SettingsSection | AdminSection, Key> = {
  general: 'settings.general',
  account: 'settings.account',
  tokens: 'settings.tokens',
  prompts: 'prompts.title',
  data: 'data.title',
  models: 'models.title',
  users: 'users.title',
};
