import { expect, it } from 'vitest';

import { routeOf } from './router.svelte';

it('names the page of each address', () => {
  expect(routeOf('/')).toEqual({ page: 'chat', chatId: null });
  expect(routeOf('/c/0192')).toEqual({ page: 'chat', chatId: '0192' });
  expect(routeOf('/settings')).toEqual({ page: 'settings', section: 'general' });
  expect(routeOf('/settings/tokens')).toEqual({ page: 'settings', section: 'tokens' });
  expect(routeOf('/admin')).toEqual({ page: 'admin', section: 'models' });
});

it('sends every other address to the page that says so', () => {
  for (const path of ['/c', '/c/a/b', '/settings/none', '/admin/none', '/other', '/constructor']) {
    expect(routeOf(path), path).toEqual({ page: 'absent' });
  }
});
