/** What the server told the page about itself. */

import { xsrfCookie } from '@persistent-terminal-hub/client';

export interface Facts {
  /** Of the workspace's server, with a slash at its end. */
  readonly baseUrl: string;
  /** Of the hub; empty: there is none. */
  readonly hubPath: string;
  /** `user/server name`; empty: unknown. */
  readonly workspace: string;
  readonly xsrf: string;
}

export function readFacts(text: string | undefined): Facts {
  let raw: Readonly<Record<string, unknown>> = {};
  try {
    raw = JSON.parse(text ?? '{}') as Readonly<Record<string, unknown>>;
  } catch {
    // then it is as if nothing was told
  }
  const value = (name: string): string => {
    const found = raw[name];
    return typeof found === 'string' ? found : '';
  };
  return {
    baseUrl: value('baseUrl') || '/',
    hubPath: value('hubPath'),
    workspace: value('workspace'),
    xsrf: value('xsrf')
  };
}

/** What a request proves that it comes from this page with: a login in another tab may have changed it since. */
export const xsrfOf = (facts: Facts): string => xsrfCookie() || facts.xsrf;
