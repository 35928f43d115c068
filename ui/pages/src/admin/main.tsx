import { lazy, StrictMode, Suspense, useEffect, useState, useSyncExternalStore, type ReactNode } from 'react';
import { createRoot } from 'react-dom/client';
import '../common/base.css';
import './admin.css';
import { hubBase } from '../common/place';
import { applyTheme, onThemeChange, toggleTheme, type Theme } from '../common/theme';
import { ask } from './api';
import { Ago, Clock, Problem } from './bits';
import { isOrphan } from './board';
import { snapshot, start, subscribe, type Seen } from './store';
import { Tables } from './Tables';

// Seldom looked at first: fetched when they are.
const Usage = lazy(() => import('./Usage'));
const Audit = lazy(() => import('./Audit'));
const Settings = lazy(() => import('./Settings'));

const VIEWS = { workspaces: 'Workspaces', sessions: 'Sessions', users: 'Users', usage: 'Usage', audit: 'Audit log', settings: 'Settings' };
type View = keyof typeof VIEWS;

/** `#sessions?ann`: what is shown, and what is searched for. */
function useHash(): [View, string, (view: View, query?: string) => void] {
  const hash = useSyncExternalStore(
    told => {
      addEventListener('hashchange', told);
      return () => removeEventListener('hashchange', told);
    },
    () => location.hash
  );
  const [name = '', query = ''] = hash.slice(1).split('?');
  const go = (to: View, search = '') => {
    location.hash = search ? `${to}?${encodeURIComponent(search)}` : to;
  };
  let words = '';
  try {
    words = decodeURIComponent(query);
  } catch {
    // somebody wrote the address by hand
  }
  return [name in VIEWS ? (name as View) : 'workspaces', words, go];
}

function Page(): ReactNode {
  const seen = useSyncExternalStore(subscribe, snapshot);
  const [theme, setTheme] = useState<Theme>(applyTheme);
  const [view, asked, go] = useHash();
  const [query, setQuery] = useState(asked);
  const [me, setMe] = useState('');
  useEffect(() => onThemeChange(setTheme), []);
  useEffect(() => setQuery(asked), [view, asked]);
  // On a narrow page the views are a row that scrolls.
  useEffect(() => {
    void document.querySelector('.tabs [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' });
  }, [view]);
  useEffect(() => {
    ask<{ name: string }>('GET', 'me').then(
      found => setMe(found.name),
      () => undefined
    );
  }, []);
  const hub = hubBase();
  return (
    <Clock>
      <nav className="bar-top" aria-label="Hub">
        <a className="logo" href={`${hub}home`}>
          <img src={`${hub}logo`} alt="JupyterHub, home" height="28" />
        </a>
        <a href={`${hub}home`}>Home</a>
        <a href="#workspaces" aria-current="page" className="current">
          Administration
        </a>
        <span className="push" />
        <button
          type="button"
          className="button"
          aria-label={theme === 'dark' ? 'Light colours' : 'Dark colours'}
          title="Light or dark"
          onClick={() => setTheme(toggleTheme())}
        >
          ◐
        </button>
        {me && <span className="me">{me}</span>}
        <a className="button" href={`${hub}logout`}>
          Logout
        </a>
      </nav>
      <main>
        <h1 className="hidden-text">Administration</h1>
        <div className="tabs" role="navigation" aria-label="Views">
          {(Object.keys(VIEWS) as View[]).map(name => (
            <a key={name} href={`#${name}`} aria-current={name === view ? 'page' : undefined}>
              {VIEWS[name]}
              {count(seen, name)}
            </a>
          ))}
        </div>
        <Health seen={seen} />
        <Suspense fallback={<span className="skeleton block" />}>
          {view === 'usage' && <Usage theme={theme} />}
          {view === 'audit' && <Audit />}
          {view === 'settings' && <Settings />}
        </Suspense>
        {(view === 'workspaces' || view === 'sessions' || view === 'users') && (
          <Tables
            key={view}
            seen={seen}
            view={view}
            query={query}
            onQuery={setQuery}
            onPerson={user => go('workspaces', user)}
          />
        )}
      </main>
    </Clock>
  );
}

function count(seen: Seen, view: View): ReactNode {
  const found = { workspaces: seen.places, sessions: seen.sessions, users: seen.people }[view as 'users'];
  return found && seen.ready ? <span className="count">{found.length}</span> : null;
}

/** What is wrong with the picture, if anything is. */
function Health({ seen }: { seen: Seen }): ReactNode {
  const silent = seen.places.filter(place => !isOrphan(place) && place.status === 'running' && place.answers === false);
  const orphans = seen.places.filter(isOrphan);
  return (
    <div className="health" role="status">
      {seen.refusal && <Problem refusal={seen.refusal} />}
      {!seen.live && seen.stale !== null && !seen.refusal && (
        <div className="notice warning">
          <span>
            Not connected for <Ago at={seen.stale / 1000} />: what is shown is older. The page connects again by itself.
          </span>
        </div>
      )}
      {seen.hub && !seen.hub.answers && (
        <div className="notice warning">
          <span>
            The hub has not answered for <Ago at={seen.hub.since} />: workspaces go on, new ones do not appear here.
          </span>
        </div>
      )}
      {silent.length > 0 && (
        <div className="notice danger">
          <span>
            {silent.length === 1 ? 'One workspace does not answer. Its' : `${silent.length} workspaces do not answer. Their`}{' '}
            programs may be running on. <a href="#workspaces?not%20answering">Show</a>
          </span>
        </div>
      )}
      {orphans.length > 0 && (
        <div className="notice warning">
          <span>
            {orphans.length === 1 ? 'One container runs' : `${orphans.length} containers run`} that the hub has no record of.{' '}
            <a href="#workspaces?unknown">Show</a>
          </span>
        </div>
      )}
    </div>
  );
}

start();
const place = document.getElementById('page');
if (place) {
  createRoot(place).render(
    <StrictMode>
      <Page />
    </StrictMode>
  );
}
