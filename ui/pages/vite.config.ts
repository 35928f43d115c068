// Each *.html here is a page with an entry of its own; all land in share/persistent-terminal-hub/pages/.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { defineConfig, type Plugin } from 'vite';

const here = import.meta.dirname;
const out = resolve(here, '../../share/persistent-terminal-hub/pages');

/** Beside each asset its compressed form, which the servers send as it is. */
function compressed(): Plugin {
  return {
    name: 'compressed',
    apply: 'build',
    closeBundle() {
      const folder = join(out, 'assets');
      for (const name of readdirSync(folder).filter(each => /\.(js|css|svg)$/.test(each))) {
        writeFileSync(join(folder, `${name}.gz`), gzipSync(readFileSync(join(folder, name)), { level: 9 }));
      }
    }
  };
}

export default defineConfig({
  root: here,
  // Addresses are relative to the page: it works below any base URL, served by whichever server.
  base: './',
  publicDir: false,
  plugins: [compressed()],
  build: {
    outDir: out,
    emptyOutDir: true,
    target: 'es2022',
    // A strict Content-Security-Policy allows neither inline scripts nor data: addresses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: Object.fromEntries(
        readdirSync(here)
          .filter(name => name.endsWith('.html'))
          .map(name => [name.slice(0, -5), join(here, name)])
      )
    }
  }
});
