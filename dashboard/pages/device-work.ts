/** How much the machine worked each day, by a counter of hours or by what is on while it works. */
import type { TemplateResult } from 'lit-html';
import { html, nothing } from 'lit-html';
import { operatingHoursChannel } from '../../domain/service.ts';
import type { DayOfWork, LatestValue } from '../../domain/view.ts';
import type { Device } from '../api.ts';
import { api } from '../api.ts';
import { dayBars } from '../bars.ts';
import { formatDate, formatHours } from '../format.ts';
import type { App } from '../page.ts';
import { table } from '../table.ts';

export interface WorkPanel {
  view(device: Device): TemplateResult | typeof nothing;
  /** Loads what a newer device has. */
  follow(device: Device): void;
}

const dayMs = 86_400_000;
const ranges = [30, 90, 365] as const;

interface State {
  channel: string | undefined;
  days: (typeof ranges)[number];
  /** Midnight of the last day, in the viewer's time zone. */
  lastDayMs: number | undefined;
  work: readonly DayOfWork[];
}

export function createWorkPanel(app: App, path: string): WorkPanel {
  const state: State = { channel: undefined, days: 30, lastDayMs: undefined, work: [] };
  let kinds: ReadonlyMap<string, 'state' | 'counter'> = new Map();
  let latestRequest = 0;
  const load = (): void =>
    app.attempt(async () => {
      const { channel, days, lastDayMs } = state;
      const kind = kinds.get(channel ?? '');
      if (channel === undefined || kind === undefined || lastDayMs === undefined) return;
      const request = ++latestRequest;
      const fromMs = lastDayMs - (days - 1) * dayMs;
      const work = await api.work({ path, channel, kind, fromMs, days });
      if (request !== latestRequest) return;
      state.work = work;
      app.refresh();
    });
  const set = (change: Partial<State>): void => {
    Object.assign(state, change);
    app.refresh();
    load();
  };
  return {
    follow: ({ latest, lastSnapshotMs }) => {
      kinds = kindsOf(latest);
      const lastDayMs = lastSnapshotMs === null ? undefined : midnight(lastSnapshotMs);
      const isNewDay = lastDayMs !== state.lastDayMs;
      state.channel ??= preferred(kinds);
      state.lastDayMs = lastDayMs;
      if (isNewDay) load();
    },
    view: () => (kinds.size === 0 ? nothing : view(state, [...kinds.keys()], set)),
  };
}

/** What can tell of work: counters of hours, and whatever is true, or above 0, while the machine works. */
function kindsOf(latest: readonly LatestValue[]): Map<string, 'state' | 'counter'> {
  const numbers = latest.filter(({ value }) => typeof value !== 'string');
  return new Map(
    numbers.map(({ channel, unit, value }) => [
      channel,
      typeof value === 'number' && unit === 'h' ? 'counter' : 'state',
    ]),
  );
}

function preferred(kinds: ReadonlyMap<string, 'state' | 'counter'>): string | undefined {
  if (kinds.has(operatingHoursChannel)) return operatingHoursChannel;
  const names = [...kinds.keys()];
  return names.find((name) => /running|working|on$/.test(name)) ?? names[0];
}

function midnight(ms: number): number {
  return new Date(ms).setHours(0, 0, 0, 0);
}

function view(
  state: State,
  channels: readonly string[],
  set: (change: Partial<State>) => void,
): TemplateResult {
  return html`<section class="card">
    <div class="toolbar bare">
      <h2>Work</h2>
      <label class="select">
        <span class="hidden">Channel that tells of work</span>
        <select @change=${(event: Event) => set({ channel: (event.target as HTMLSelectElement).value })}>
          ${channels.map(
            (channel) =>
              html`<option value=${channel} ?selected=${channel === state.channel}>${channel}</option>`,
          )}
        </select>
      </label>
      <div class="chips" role="group" aria-label="Days">
        ${ranges.map(
          (days) =>
            html`<button class="chip" aria-pressed=${state.days === days} @click=${() => set({ days })}>
              ${days} d
            </button>`,
        )}
      </div>
    </div>
    ${state.work.length === 0 ? nothing : html`${dayBars(state.work)} ${sum(state.work)} ${numbers(state.work)}`}
  </section>`;
}

function sum(work: readonly DayOfWork[]): TemplateResult {
  const hours = work.reduce((total, day) => total + day.hours, 0);
  const known = work.reduce((total, day) => total + day.knownHours, 0);
  return html`<p class="quiet" id="worked">
    ${
      known === 0
        ? 'Nothing is known of these days.'
        : `${formatHours(hours)} of ${formatHours(known)} that are known: utilisation ${Math.round((100 * hours) / known)} %.`
    }
  </p>`;
}

function numbers(work: readonly DayOfWork[]): TemplateResult {
  return html`<details>
    <summary>Numbers</summary>
    <div class="low">
      ${table(
        ['Day', { figure: 'Worked' }, { figure: 'Known' }],
        work.toReversed().map(
          (day) =>
            html`<tr>
              <td>${formatDate(day.dayMs + dayMs / 2)}</td>
              <td class="number">${day.knownHours === 0 ? '–' : formatHours(day.hours)}</td>
              <td class="number">${formatHours(day.knownHours)}</td>
            </tr>`,
        ),
      )}
    </div>
  </details>`;
}
