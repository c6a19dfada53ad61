/** Everything that the device sent in a range of time, as a file. */
import type { TemplateResult } from 'lit-html';
import { html } from 'lit-html';
import { live } from 'lit-html/directives/live.js';
import type { Device } from '../api.ts';
import { exportUrl } from '../api.ts';
import { fromLocalTime, toLocalTime } from '../format.ts';
import type { App } from '../page.ts';

export interface ExportPanel {
  view(device: Device): TemplateResult;
}

const dayMs = 86_400_000;

export function createExportPanel(app: App, path: string): ExportPanel {
  let from: string | undefined;
  let to: string | undefined;
  const typed = (event: Event): string => (event.target as HTMLInputElement).value;
  return {
    view: ({ lastSnapshotMs }) => {
      const endMs = lastSnapshotMs ?? Date.now();
      from ??= toLocalTime(endMs - dayMs);
      to ??= toLocalTime(endMs + 60_000); // the field shows no seconds
      const range = { fromMs: fromLocalTime(from), toMs: fromLocalTime(to) };
      const isRange = range.fromMs <= range.toMs;
      return html`<section class="card">
        <h2>Export</h2>
        <div class="sheet">
          <label
            >From<input
              type="datetime-local"
              .value=${live(from)}
              @change=${(event: Event) => {
                from = typed(event);
                app.refresh();
              }}
          /></label>
          <label
            >To<input
              type="datetime-local"
              .value=${live(to)}
              @change=${(event: Event) => {
                to = typed(event);
                app.refresh();
              }}
          /></label>
          <p class="chips wide">
            ${
              isRange
                ? html`<a class="plain" href=${exportUrl(path, range)} download>This range as CSV</a>`
                : html`<span class="fault" role="alert">The range ends before it begins.</span>`
            }
            <a class="plain" href=${exportUrl(path)} download>Everything as CSV</a>
          </p>
        </div>
        <p class="quiet hint">A line for each snapshot, times in UTC, a column for each channel.</p>
      </section>`;
    },
  };
}
