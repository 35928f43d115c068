import { readdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

import { defineConfig, type Plugin } from 'vite';

const here = import.meta.dirname;
/** Every HTML file here is a page with an entry of its own. */
const pages = readdirSync(here).filter(name => name.endsWith('.html'));

/** Beside each script and style what the server sends in its place to a browser that takes it compressed. */
function gzipped(): Plugin {
  return {
    name: 'gzipped',
    apply: 'build',
    async writeBundle({ dir }, bundle) {
      const written = Object.values(bundle)
        .filter(({ fileName }) => /\.(?:js|css|svg)$/.test(fileName))
        .map(file => {
          const content = file.type === 'chunk' ? file.code : file.source;
          return writeFile(join(dir ?? '', `${file.fileName}.gz`), gzipSync(content, { level: 9 }));
        });
      await Promise.all(written);
    }
  };
}

/** Addresses in a page are relative, so that it works below any base URL. */
export default defineConfig({
  base: './',
  publicDir: false,
  plugins: [gzipped()],
  build: {
    outDir: '../../share/persistent-terminal-hub/pages',
    emptyOutDir: true,
    target: 'es2022',
    // The pages' Content-Security-Policy lets nothing run that stands in an address or in a page.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1000,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: Object.fromEntries(pages.map(name => [name.slice(0, -5), join(here, name)])),
      // The emulator in a file of its own: it changes seldom, and browsers keep what has not changed.
      output: { codeSplitting: { groups: [{ name: 'xterm', test: /[\\/]@xterm[\\/].*\.m?js$/ }] } }
    }
  }
});
