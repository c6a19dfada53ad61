/** Everything about a device as files, of all times or of a part. */
import type { TemplateResult } from 'lit-html';
import { html, nothing } from 'lit-html';
import type { DeviceView } from '../../domain/audit-device-view.ts';
import { formatDateTime, fromLocalTime } from '../format.ts';
import type { App } from '../page.ts';
import type { Part } from './api.ts';
import { auditor } from './api.ts';

export interface FilesPanel {
  view(device: DeviceView): TemplateResult;
}

/** What is in each file, by its name. */
const tableTexts: Readonly<Record<string, string>> = {
  snapshots: 'opened, a line a value',
  commands: 'and what the device answered',
  entries: 'of the ledger',
  decisions: 'of people, and of deadlines',
  policies: 'that spoke of it; always all',
  certificates: 'that it published; always all',
};

export function createFilesPanel(app: App): FilesPanel {
  /** As typed; empty: no bound. */
  let typed = { from: '', until: '' };
  const field = (name: keyof typeof typed, label: string): TemplateResult =>
    html`<label
      >${label}<input
        type="datetime-local"
        .value=${typed[name]}
        @input=${(event: Event) => {
          typed = { ...typed, [name]: (event.target as HTMLInputElement).value };
          app.refresh();
        }}
    /></label>`;
  return {
    view: (view) => {
      const part = partOf(typed);
      return html`<section class="card">
        <h2>Everything about it</h2>
        <div class="row range" role="group" aria-label="Only what was received">
          ${field('from', 'Received from')} ${field('until', 'and before')}
        </div>
        <p class="quiet" role="status">${part === undefined ? '' : partText(part)}</p>
        ${part === undefined ? html`<p class="fault">The first time has to be before the second.</p>` : filesOf(view, part)}
        <p class="quiet">${keptText(view)}</p>
      </section>`;
    },
  };
}

/** @returns undefined if it ends before it begins */
function partOf({ from, until }: { readonly from: string; readonly until: string }): Part | undefined {
  const part = { from: momentOf(from), until: momentOf(until) };
  return part.from !== undefined && part.until !== undefined && part.from >= part.until ? undefined : part;
}

/** @returns as the server takes it (RFC 3339), which sorts as it reads */
function momentOf(text: string): string | undefined {
  return text === '' ? undefined : new Date(fromLocalTime(text)).toISOString();
}

function partText({ from, until }: Part): string {
  if (from === undefined && until === undefined) return 'The files have what is known of all times.';
  const [first, last] = [from, until].map((text) => text && formatDateTime(Date.parse(text)));
  return `The files have what was received${first ? ` from ${first} on` : ''}${last ? ` before ${last}` : ''}.`;
}

function filesOf({ device, tables }: DeviceView, part: Part): TemplateResult {
  return html`<ul class="files">
    <li>
      <a href=${auditor.everythingUrl(device, part)} download>everything.json</a>
      <span class="quiet">all tables in one file</span>
    </li>
    ${tables.map(
      (table) =>
        html`<li>
          <a href=${auditor.tableUrl(device, table, 'csv', part)} download>${table}.csv</a>
          <a href=${auditor.tableUrl(device, table, 'parquet', part)} download>${table}.parquet</a>
          <span class="quiet">${tableTexts[table] ?? nothing}</span>
        </li>`,
    )}
  </ul>`;
}

function keptText({ keptSinceMs }: DeviceView): string {
  return keptSinceMs === undefined
    ? 'No envelope of it is kept here, so no values and no commands: the ledger has neither. The setting is archive.'
    : `Values and commands since ${formatDateTime(keptSinceMs)}; the ledger since it began.`;
}
