import { vitePreprocess } from '@sveltejs/vite-plugin-svelte';

/** @type {import('@sveltejs/vite-plugin-svelte').SvelteConfig} */
export default {
  preprocess: vitePreprocess(),
  compilerOptions: {
    runes: true,
    // Templates are built with createElement instead of innerHTML: the page needs no Trusted Types
    // policy but the one in lib/markdown/sink.ts.
    fragments: 'tree',
  },
};
