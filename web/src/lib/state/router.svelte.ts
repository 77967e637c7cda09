// The address bar. Pages ask `router.route`; links call `go`.

export const settingsSections = [
  'general',
  'account',
  'security',
  'prompts',
  'data',
  'tokens',
  'usage',
  'playground',
] as const;
export const adminSections = [
  'models',
  'channels',
  'routes',
  'users',
  'groups',
  'invites',
  'usage',
  'money',
  'log',
  'audit',
  'server',
] as const;
export type SettingsSection = (typeof settingsSections)[number];
export type AdminSection = (typeof adminSections)[number];

export type Route =
  | { page: 'chat'; chatId: string | null }
  | { page: 'shared'; shareId: string }
  | { page: 'join' }
  | { page: 'settings'; section: SettingsSection }
  | { page: 'admin'; section: AdminSection }
  | { page: 'absent' };

function known<T extends string>(names: readonly T[], name: string | undefined): T | null {
  return names.find((candidate) => candidate === name) ?? null;
}

/** The page an address names. */
export function routeOf(path: string): Route {
  const [room, name, ...rest] = path.split('/').filter((part) => part !== '');
  if (rest.length > 0) return { page: 'absent' };
  if (room === undefined) return { page: 'chat', chatId: null };
  if (room === 'c' && name) return { page: 'chat', chatId: name };
  if (room === 's' && name) return { page: 'shared', shareId: name };
  if (room === 'join' && name === undefined) return { page: 'join' };
  const settings = known(settingsSections, name ?? 'general');
  if (room === 'settings' && settings) return { page: 'settings', section: settings };
  const admin = known(adminSections, name ?? 'models');
  if (room === 'admin' && admin) return { page: 'admin', section: admin };
  return { page: 'absent' };
}

class Router {
  route = $state<Route>(routeOf(location.pathname));

  constructor() {
    addEventListener('popstate', () => (this.route = routeOf(location.pathname)));
  }

  go = (path: string, options: { replace?: boolean } = {}): void => {
    if (path !== location.pathname) {
      if (options.replace) history.replaceState(null, '', path);
      else history.pushState(null, '', path);
    }
    this.route = routeOf(path);
  };

  /** For `onclick` of a link: opens it in place unless the reader asked for a new tab. */
  follow = (event: MouseEvent): void => {
    const anchor = event.currentTarget as HTMLAnchorElement;
    const modified = event.metaKey || event.ctrlKey || event.shiftKey || event.altKey;
    if (modified || event.button !== 0) return;
    event.preventDefault();
    this.go(anchor.pathname);
  };
}

export const router = new Router();
