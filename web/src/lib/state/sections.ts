// The sections of the desk: what they are called, and the route without which they are not shown.
import type { Key } from '../i18n/en';
import { features } from './features.svelte';
import {
  adminSections,
  settingsSections,
  type AdminSection,
  type SettingsSection,
} from './router.svelte';

export const sectionWords: Record<SettingsSection | AdminSection, Key> = {
  general: 'settings.general',
  account: 'settings.account',
  security: 'security.title',
  tokens: 'settings.tokens',
  prompts: 'prompts.title',
  data: 'data.title',
  usage: 'usage.title',
  playground: 'playground.title',
  models: 'models.title',
  channels: 'channels.title',
  routes: 'routes.title',
  users: 'users.title',
  groups: 'groups.title',
  invites: 'invites.title',
  money: 'money.title',
  log: 'log.title',
  audit: 'audit.title',
  server: 'server.title',
};

const needs: Partial<Record<SettingsSection | AdminSection, string>> = {
  usage: '/hearth/usage/summary',
  log: '/hearth/usage',
  audit: '/hearth/audit',
  money: '/hearth/budgets',
  channels: '/hearth/channels',
  routes: '/hearth/routes',
  groups: '/hearth/groups',
  invites: '/hearth/invites',
  security: '/hearth/sessions',
  server: '/hearth/doctor',
};

function isThere(name: SettingsSection | AdminSection): boolean {
  const route = needs[name];
  return route === undefined || features.has(route);
}

export const shownSettings = (): SettingsSection[] => settingsSections.filter(isThere);
export const shownAdmin = (): AdminSection[] => adminSections.filter(isThere);
