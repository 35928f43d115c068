// The live tables: workspaces, sessions, users.

import { useCallback, useDeferredValue, useMemo, useState, type ReactNode } from 'react';
import { Acts } from './Acts';
import { Ago, Badge, Name, wordOf } from './bits';
import { isOrphan, stateOf, titleOf, type Person, type Place, type PlacedSession } from './board';
import { Grid, type Column } from './Grid';
import type { Seen } from './store';
import { search, sort, type Order } from './table';
import { bytes, MIB, moment } from './words';

const memoryOf = (place: Place): number =>
  isOrphan(place) ? 0 : place.sessions.reduce((sum, session) => sum + session.memory, 0);
const activityOf = (place: Place): number | null =>
  isOrphan(place) ? null : (place.presence ?? moment(place.lastActivity));
const busyOf = (place: Place): number => (isOrphan(place) ? 0 : place.sessions.filter(s => s.busySince !== null).length);

/** What people call a workspace. */
const nameOf = (place: Place): string => (isOrphan(place) ? '' : place.display) || place.name || 'default';

/** A name; on small screens with what other columns say there. */
const Stack = ({ text, under }: { text: string; under: string }): ReactNode => (
  <>
    <Name text={text} strong />
    <span className="under">
      <Name text={under} />
    </span>
  </>
);

const PLACES: readonly Column<Place>[] = [
  { id: 'owner', title: 'User', width: 'minmax(0, 1.3fr)', sort: place => place.owner, cell: place => <Stack text={place.owner} under={nameOf(place)} /> },
  {
    id: 'name',
    title: 'Workspace',
    width: 'minmax(0, 1.5fr)',
    extra: true,
    sort: place => place.name,
    cell: place => <Name text={nameOf(place)} />
  },
  { id: 'state', title: 'State', width: 'minmax(9.5rem, 1fr)', sort: stateOf, cell: place => <Badge state={stateOf(place)} /> },
  {
    id: 'sessions',
    title: 'Sessions',
    width: 'minmax(0, 0.8fr)',
    extra: true,
    sort: place => (isOrphan(place) ? null : place.sessions.length),
    cell: place =>
      isOrphan(place) || place.status !== 'running' ? null : (
        <span>
          {place.sessions.length}
          {busyOf(place) > 0 && <span className="soft"> · {busyOf(place)} busy</span>}
        </span>
      )
  },
  {
    id: 'memory',
    title: 'Memory',
    width: 'minmax(0, 0.7fr)',
    extra: true,
    sort: place => memoryOf(place) || null,
    cell: place => (memoryOf(place) ? bytes(memoryOf(place) * MIB) : null)
  },
  {
    id: 'activity',
    title: 'Last seen',
    width: 'minmax(6.5rem, 0.7fr)',
    extra: true,
    sort: activityOf,
    cell: place => <Ago at={activityOf(place)} none="never" ago />
  }
];

const SESSIONS: readonly Column<PlacedSession>[] = [
  { id: 'owner', title: 'User', width: 'minmax(0, 1.1fr)', extra: true, sort: row => row.workspace.owner, cell: row => <Name text={row.workspace.owner} /> },
  { id: 'name', title: 'Session', width: 'minmax(0, 1.5fr)', sort: row => row.session.name, cell: row => <Stack text={row.session.name} under={`${row.workspace.owner} · ${nameOf(row.workspace)}`} /> },
  {
    id: 'workspace',
    title: 'Workspace',
    width: 'minmax(0, 1.1fr)',
    extra: true,
    sort: row => row.workspace.name,
    cell: row => <Name text={nameOf(row.workspace)} />
  },
  {
    id: 'state',
    title: 'State',
    width: 'minmax(6.5rem, 0.8fr)',
    sort: row => (row.workspace.answers === false ? 'silent' : row.session.state),
    cell: row => <Badge state={row.workspace.answers === false ? 'silent' : row.session.state} />
  },
  {
    id: 'busy',
    title: 'Busy for',
    width: 'minmax(0, 0.7fr)',
    extra: true,
    sort: row => row.session.busySince,
    cell: row => <Ago at={row.session.busySince} />
  },
  {
    id: 'memory',
    title: 'Memory',
    width: 'minmax(0, 0.7fr)',
    extra: true,
    sort: row => row.session.memory || null,
    cell: row => (row.session.memory ? bytes(row.session.memory * MIB) : null)
  },
  { id: 'created', title: 'Age', width: 'minmax(0, 0.6fr)', extra: true, sort: row => row.session.created, cell: row => <Ago at={row.session.created} /> }
];

const PEOPLE: readonly Column<Person>[] = [
  { id: 'user', title: 'User', width: 'minmax(0, 1.5fr)', sort: row => row.user.user, cell: row => <Name text={row.user.user} strong /> },
  {
    id: 'groups',
    title: 'Groups',
    width: 'minmax(0, 1.5fr)',
    extra: true,
    sort: row => row.user.groups.join(', ') || null,
    cell: row => <Name text={row.user.groups.join(', ')} />
  },
  {
    id: 'role',
    title: 'Role',
    width: 'minmax(8rem, 0.9fr)',
    extra: true,
    sort: row => (row.user.admin ? 0 : 1),
    cell: row => (row.user.admin ? <Badge state="administrator" /> : null)
  },
  {
    id: 'running',
    title: 'Running',
    width: 'minmax(5.5rem, 0.8fr)',
    sort: row => row.running,
    cell: row => (
      <span>
        {row.running} <span className="soft">of {row.workspaces}</span>
      </span>
    )
  },
  { id: 'sessions', title: 'Sessions', width: 'minmax(5.5rem, 0.7fr)', sort: row => row.sessions, cell: row => row.sessions },
  {
    id: 'activity',
    title: 'Last seen',
    width: 'minmax(6.5rem, 0.8fr)',
    extra: true,
    sort: row => moment(row.user.lastActivity),
    cell: row => <Ago at={moment(row.user.lastActivity)} none="never" ago />
  }
];

interface Kind<T extends object> {
  readonly label: string;
  readonly columns: readonly Column<T>[];
  readonly first: Order;
  readonly textOf: (row: T) => string;
  readonly states: readonly string[];
  readonly stateOf: (row: T) => string;
  readonly empty: string;
}

const PLACE_KIND: Kind<Place> = {
  label: 'Workspaces',
  columns: PLACES,
  first: { by: 'owner', down: false },
  textOf: place =>
    [titleOf(place), wordOf(stateOf(place)), isOrphan(place) ? place.container : place.display, ...(isOrphan(place) ? [] : place.sessions.map(s => s.name))].join('\n'),
  states: ['running', 'locked', 'silent', 'starting', 'stopping', 'stopped', 'orphan'],
  stateOf,
  empty: 'Nobody has a workspace yet. When somebody starts one, it appears here by itself.'
};
const SESSION_KIND: Kind<PlacedSession> = {
  label: 'Sessions',
  columns: SESSIONS,
  first: { by: 'owner', down: false },
  textOf: row => [titleOf(row.workspace), row.session.name, row.workspace.display, row.session.state].join('\n'),
  states: ['active', 'dormant', 'locked', 'silent'],
  stateOf: row => (row.workspace.answers === false ? 'silent' : row.session.state),
  empty: 'No session runs now.'
};
const PERSON_KIND: Kind<Person> = {
  label: 'Users',
  columns: PEOPLE,
  first: { by: 'user', down: false },
  textOf: row => [row.user.user, ...row.user.groups, row.user.admin ? 'administrator' : ''].join('\n'),
  states: ['with a running workspace', 'without', 'administrator'],
  stateOf: row => (row.running ? 'with a running workspace' : 'without'),
  empty: 'The hub knows no users yet.'
};

const keyOf = (row: { readonly key: string }): string => row.key;

function Table<T extends { readonly key: string }>(props: {
  kind: Kind<T>;
  rows: readonly T[];
  loading: boolean;
  query: string;
  onQuery: (query: string) => void;
  onOpen?: ((row: T) => void) | undefined;
}): ReactNode {
  const { kind, rows, loading, query, onQuery, onOpen } = props;
  const [state, setState] = useState('');
  const [order, setOrder] = useState(kind.first);
  const wanted = useDeferredValue(query);
  const shown = useMemo(() => {
    const is = (row: T) =>
      !state || kind.stateOf(row) === state || (state === 'administrator' && kind.textOf(row).endsWith(state));
    const found = search(rows.filter(is), wanted, kind.textOf);
    const column = kind.columns.find(each => each.id === order.by);
    return sort(found, column?.sort ?? (() => null), order.down, row => row.key);
  }, [kind, rows, state, wanted, order]);
  return (
    <>
      <div className="tools">
        <input
          className="field search"
          type="search"
          placeholder={`Search ${kind.label.toLowerCase()}`}
          aria-label={`Search ${kind.label.toLowerCase()}`}
          value={query}
          onChange={event => onQuery(event.target.value)}
        />
        <select className="field" aria-label="Filter by state" value={state} onChange={event => setState(event.target.value)}>
          <option value="">All states</option>
          {kind.states.map(each => (
            <option key={each} value={each}>
              {wordOf(each)}
            </option>
          ))}
        </select>
        <span className="soft" role="status">
          {loading || shown.length === rows.length ? '' : `${shown.length} of ${rows.length}`}
        </span>
      </div>
      <Grid
        label={kind.label}
        columns={kind.columns}
        rows={shown}
        keyOf={keyOf}
        order={order}
        onOrder={setOrder}
        onOpen={onOpen}
        loading={loading}
        empty={rows.length ? 'Nothing matches. Change the search or the filter.' : kind.empty}
      />
    </>
  );
}

interface Props {
  readonly seen: Seen;
  readonly view: 'workspaces' | 'sessions' | 'users';
  readonly onPerson: (user: string) => void;
  readonly query: string;
  readonly onQuery: (query: string) => void;
}

export function Tables({ seen, view, onPerson, query, onQuery }: Props): ReactNode {
  const [opened, setOpened] = useState<{ key: string; focus: string | null } | null>(null);
  const place = opened && seen.places.find(each => each.key === opened.key);
  // The same functions each time: rows that did not change are not drawn again.
  const openPlace = useCallback((row: Place) => setOpened({ key: row.key, focus: null }), []);
  const openSession = useCallback(
    (row: PlacedSession) => setOpened({ key: row.workspace.key, focus: row.session.id }),
    []
  );
  const common = { loading: !seen.ready, query, onQuery };
  return (
    <>
      {view === 'workspaces' && (
        <Table kind={PLACE_KIND} rows={seen.places} {...common} onOpen={openPlace} />
      )}
      {view === 'sessions' && (
        <Table
          kind={SESSION_KIND}
          rows={seen.sessions}
          {...common}
          onOpen={openSession}
        />
      )}
      {view === 'users' && <Table kind={PERSON_KIND} rows={seen.people} {...common} onOpen={row => onPerson(row.user.user)} />}
      {place && <Acts place={place} focus={opened.focus} onClose={() => setOpened(null)} />}
    </>
  );
}
