import { defineConfig } from 'vite';

/** Addresses in a page are relative, so that it works below any base URL. */
export default defineConfig({
  base: './',
  build: {
    outDir: '../../share/persistent-terminal-hub/pages',
    emptyOutDir: true,
    target: 'es2022',
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1000,
    modulePreload: { polyfill: false },
    rollupOptions: { input: { terminal: 'terminal.html' } }
  }
});
