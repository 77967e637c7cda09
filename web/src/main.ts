// Starts the page.
import { mount } from 'svelte';

import App from './App.svelte';
import './styles/tokens.css';
import './styles/base.css';
import './styles/parts.css';
import { language, preferredLanguage } from './lib/i18n/language.svelte';

const target = document.getElementById('app');
if (!target) throw new Error('index.html has no #app');
await language.use(preferredLanguage()).catch(() => undefined);
mount(App, { target });
