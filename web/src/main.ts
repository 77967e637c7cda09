// Starts the page.
import { mount } from 'svelte';

import App from './App.svelte';
import './styles/tokens.css';
import './styles/base.css';
import './styles/parts.css';
import { language, preferredLanguage } from './lib/i18n/language.svelte';
import { workerAddress } from './lib/markdown/sink';

const target = document.getElementById('app');
if (!target) throw new Error('index.html has no #app');
await language.use(preferredLanguage()).catch(() => undefined);
mount(App, { target });

// Only over HTTPS and on the machine itself; elsewhere the page works without.
if ('serviceWorker' in navigator && import.meta.env.PROD) {
  void navigator.serviceWorker.register(workerAddress as string).catch(() => undefined);
}
