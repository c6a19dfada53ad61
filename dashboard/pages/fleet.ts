/** The list of devices, which is where people begin. */
import type { TemplateResult } from 'lit-html';
import { html, nothing } from 'lit-html';
import { repeat } from 'lit-html/directives/repeat.js';
import type { Condition, Connection, FleetRow, Totals } from '../../domain/view.ts';
import { api } from '../api.ts';
import { formatAgo, formatCount, formatDateTime } from '../format.ts';
import {
  conditionMark,
  conditionNames,
  connectionMark,
  deviceLink,
  emptyList,
  heading,
  labelMarks,
} from '../marks.ts';
import type { User } from '../http.ts';
import type { App, Page, SnapshotEvent } from '../page.ts';
import { atMostEvery } from '../page.ts';

type Column =
  'path' | 'deviceType' | 'connection' | 'condition' | 'receivedMs' | 'lastSequence' | 'stored' | 'gapsOpen';

const columns: readonly { readonly id: Column; readonly name: string; readonly number?: true }[] = [
  { id: 'condition', name: 'Condition' },
  { id: 'path', name: 'Device' },
  { id: 'deviceType', name: 'Type' },
  { id: 'connection', name: 'Connection' },
  { id: 'receivedMs', name: 'Last snapshot' },
  { id: 'lastSequence', name: 'Sequence', number: true },
  { id: 'stored', name: 'Stored', number: true },
  { id: 'gapsOpen', name: 'Gaps', number: true },
];
const conditions: readonly Condition[] = ['abnormal', 'overdue', 'normal', 'unknown'];
const connections: readonly Connection[] = ['online', 'offline', 'unknown'];
/** One for all comparisons: to make it takes longer than to use it. */
const byText = new Intl.Collator(undefined, { numeric: true });
const pageRows = 100;
const reloadMs = 5000;
const freshMs = 1500;

interface State {
  rows: FleetRow[];
  totals: Totals | undefined;
  search: string;
  condition: Condition | undefined;
  connection: Connection | undefined;
  sort: Column;
  descending: boolean;
  shown: number;
  loaded: boolean;
  /** Device path → until when its row is marked as just updated. */
  readonly fresh: Map<string, number>;
}

type Choice = Pick<State, 'search' | 'condition' | 'connection' | 'sort' | 'descending' | 'shown'>;

/** What somebody looked for, who comes back from a device; gone with the login. */
const choices = new WeakMap<User, Choice>();
const everything: Choice = {
  search: '',
  condition: undefined,
  connection: undefined,
  sort: 'condition',
  descending: false,
  shown: pageRows,
};

export function createFleetPage(app: App): Page {
  const state: State = {
    rows: [],
    totals: undefined,
    ...(choices.get(app.user) ?? everything),
    loaded: false,
    fresh: new Map(),
  };
  const load = async (): Promise<void> => {
    const [rows, totals] = await Promise.all([api.fleet(), api.totals()]);
    Object.assign(state, { rows, totals, loaded: true });
    app.refresh();
  };
  const reload = atMostEvery(reloadMs, () => app.attempt(load));
  const set = (change: Partial<State>): void => {
    Object.assign(state, { shown: pageRows }, change);
    const { search, condition, connection, sort, descending, shown } = state;
    choices.set(app.user, { search, condition, connection, sort, descending, shown });
    app.refresh();
  };
  return {
    title: 'Fleet',
    load,
    view: () => view(state, set),
    snapshots: (events) => {
      if (!follow(state, events)) reload(); // a device that is new here
      app.refresh();
      setTimeout(() => app.refresh(), freshMs);
      reload();
    },
    changed: reload,
    stop: () => reload.cancel(),
  };
}

/** @returns false if an event is about a device that is not in the list */
function follow(state: State, events: readonly SnapshotEvent[]): boolean {
  const byPath = new Map(events.map((event) => [event.path, event]));
  const nowMs = Date.now();
  state.rows = state.rows.map((row) => {
    const event = byPath.get(row.path);
    if (event === undefined) return row;
    byPath.delete(row.path);
    state.fresh.set(row.path, nowMs + freshMs);
    return {
      ...row,
      lastSequence: Math.max(row.lastSequence, event.sequence),
      lastSnapshotMs: Math.max(row.lastSnapshotMs ?? 0, event.timeMs),
      receivedMs: nowMs,
      stored: event.stored,
    };
  });
  return byPath.size === 0;
}

function view(state: State, set: (change: Partial<State>) => void): TemplateResult {
  const rows = arranged(state);
  return html`${heading('Fleet', 'Every device that you may see, and how it is.')} ${tiles(state)}
    <section class="card flush">
      <div class="toolbar">
        <label class="search">
          <span class="hidden">Search</span>
          <input
            type="search"
            placeholder="Path, type, label, owner …"
            .value=${state.search}
            @input=${(event: InputEvent) => set({ search: (event.target as HTMLInputElement).value })}
          />
        </label>
        <div class="chips" role="group" aria-label="Condition">
          ${chip('All', state.rows.length, undefined, state, set)}
          ${conditions.map((condition) => chip(conditionNames[condition], countOf(state, condition), condition, state, set))}
        </div>
        <label class="select short">
          <span class="hidden">Connection</span>
          <select
            @change=${(event: Event) => {
              const { value } = event.target as HTMLSelectElement;
              set({ connection: connections.find((known) => known === value) });
            }}
          >
            <option value="">Any connection</option>
            ${connections.map((known) => html`<option value=${known} ?selected=${state.connection === known}>${known}</option>`)}
          </select>
        </label>
      </div>
      ${
        state.loaded && rows.length === 0
          ? emptyList(
              state.rows.length === 0 ? 'No device has reported yet' : 'No device matches',
              state.rows.length === 0
                ? 'A device appears here with its first snapshot.'
                : 'Change the search or the filter.',
            )
          : table(rows, state, set)
      }
      ${
        rows.length > state.shown
          ? html`<button class="more" @click=${() => set({ shown: state.shown + pageRows })}>
              Show more (${formatCount(rows.length - state.shown)} left)
            </button>`
          : nothing
      }
    </section>`;
}

function tiles({ rows, totals }: State): TemplateResult {
  const count = (condition: Condition): number => rows.filter((row) => row.condition === condition).length;
  const online = rows.filter((row) => row.connection === 'online').length;
  return html`<section class="tiles" aria-label="Totals">
    ${tile('Devices', rows.length, '', `${formatCount(online)} online`)}
    ${tile('Normal', count('normal'), 'normal')} ${tile('Abnormal', count('abnormal'), 'abnormal')}
    ${tile('Overdue', count('overdue'), 'overdue')}
    ${tile('Snapshots', totals?.stored ?? 0, '', `${formatCount(totals?.redelivered ?? 0)} delivered again`)}
    ${tile('Open gaps', totals?.gapsOpen ?? 0, (totals?.gapsOpen ?? 0) > 0 ? 'overdue' : '')}
    ${tile('Open tasks', totals?.tasksOpen ?? 0)}
  </section>`;
}

function tile(name: string, value: number, tone = '', detail = ''): TemplateResult {
  return html`<div class="tile ${tone}">
    <span>${name}</span><strong>${formatCount(value)}</strong><small>${detail}</small>
  </div>`;
}

function countOf(state: State, condition: Condition): number {
  return state.rows.filter((row) => row.condition === condition).length;
}

function chip(
  name: string,
  count: number,
  condition: Condition | undefined,
  state: State,
  set: (change: Partial<State>) => void,
): TemplateResult {
  return html`<button
    class="chip ${condition ?? ''}"
    aria-pressed=${state.condition === condition}
    @click=${() => set({ condition })}
  >
    ${name} <span>${formatCount(count)}</span>
  </button>`;
}

/** The last arrangement of rows: most drawings change nothing about it. */
const arrangedBefore = new WeakMap<readonly FleetRow[], { readonly by: string; readonly rows: FleetRow[] }>();

function arranged(state: State): FleetRow[] {
  const by = [state.search, state.condition, state.connection, state.sort, state.descending].join('\n');
  const known = arrangedBefore.get(state.rows);
  if (known?.by === by) return known.rows;
  const rows = sorted(filtered(state), state);
  arrangedBefore.set(state.rows, { by, rows });
  return rows;
}

function filtered({ rows, search, condition, connection }: State): FleetRow[] {
  const words = search.toLowerCase().split(/\s+/);
  return rows.filter(
    (row) =>
      (condition === undefined || row.condition === condition) &&
      (connection === undefined || row.connection === connection) &&
      words.every((word) => searched(row).some((text) => text.toLowerCase().includes(word))),
  );
}

function searched({ path, deviceType, owner, technician, labels }: FleetRow): readonly string[] {
  return [path, deviceType, owner, technician, ...labels];
}

function sorted(rows: FleetRow[], { sort, descending }: State): FleetRow[] {
  const key = (row: FleetRow): string | number =>
    sort === 'condition' ? conditions.indexOf(row.condition) : (row[sort] ?? 0);
  const direction = descending ? -1 : 1;
  return rows.toSorted((a, b) => direction * order(key(a), key(b)) || order(a.path, b.path));
}

function order(a: string | number, b: string | number): number {
  return typeof a === 'number' && typeof b === 'number' ? a - b : byText.compare(String(a), String(b));
}

function table(
  rows: readonly FleetRow[],
  state: State,
  set: (change: Partial<State>) => void,
): TemplateResult {
  const nowMs = Date.now();
  const direction = state.descending ? 'descending' : 'ascending';
  return html`<div class="scroll">
    <table class="fleet">
      <thead>
        <tr>
          ${columns.map(
            ({ id, name, number }) =>
              html`<th
                scope="col"
                class=${number ? 'number' : ''}
                aria-sort=${state.sort === id ? direction : 'none'}
              >
                <button @click=${() => set({ sort: id, descending: state.sort === id && !state.descending })}>
                  ${name}
                </button>
              </th>`,
          )}
        </tr>
      </thead>
      <tbody>
        ${repeat(
          rows.slice(0, state.shown),
          (row) => row.path,
          (row) =>
            html`<tr class=${(state.fresh.get(row.path) ?? 0) > nowMs ? 'fresh' : ''}>
              <td>${conditionMark(row.condition)}</td>
              <td>${deviceLink(row.path)} ${row.labels.length === 0 ? nothing : labelMarks(row.labels)}</td>
              <td>${row.deviceType}</td>
              <td>${connectionMark(row.connection)}</td>
              <td title=${formatDateTime(row.lastSnapshotMs)}>${formatAgo(row.receivedMs, nowMs)}</td>
              <td class="number">${formatCount(row.lastSequence)}</td>
              <td class="number">${formatCount(row.stored)}</td>
              <td class="number">
                ${row.gapsOpen > 0 ? html`<span class="mark overdue">${row.gapsOpen}</span>` : '0'}
              </td>
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}
