/** JupyterLab in a workspace: its terminals, the side panel, presence, the cover of a locked page, announced ends. */

import { panelPlugin } from './panel/plugin.js';
import { sessionsPlugin } from './panel/sessions.js';
import { runPlugin } from './run/plugin.js';
import { managerPlugin, openerPlugin, terminalPlugin } from './terminal/plugin.js';
import { lostPlugin } from './workspace/lost.js';
import { workspacePlugin } from './workspace/plugin.js';

export default [
  managerPlugin,
  terminalPlugin,
  openerPlugin,
  sessionsPlugin,
  lostPlugin,
  workspacePlugin,
  panelPlugin,
  runPlugin
];
