import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'vitest';

const NAMES = [
  'closeOnExit',
  'cursorBlink',
  'fontFamily',
  'fontSize',
  'lineHeight',
  'macOptionIsMeta',
  'pasteWithCtrlV',
  'screenReaderMode',
  'scrollback',
  'shutdownOnClose',
  'theme'
];

test('whatever can be set for JupyterLab’s own terminals can be set for ours', () => {
  const schema = JSON.parse(readFileSync(new URL('../schema/terminal.json', import.meta.url), 'utf8')) as {
    properties: Record<string, { default: unknown }>;
  };
  assert.deepEqual(Object.keys(schema.properties).sort(), NAMES);
  assert.ok(Object.values(schema.properties).every(one => one.default !== undefined));
});
