import '@xterm/xterm/css/xterm.css';
import './style.css';

import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';

import { App } from './App.js';
import { readFacts } from './facts.js';
import { Workspace } from './workspace.js';

const root = document.getElementById('root');
if (root) {
  const workspace = new Workspace(readFacts(document.documentElement.dataset['facts']));
  createRoot(root).render(
    <StrictMode>
      <App workspace={workspace} />
    </StrictMode>
  );
  void workspace.start();
}
