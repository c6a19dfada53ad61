/** The newest envelopes of a device: what became of each, and a look into it. */
import type { TemplateResult } from 'lit-html';
import { html, nothing } from 'lit-html';
import type { EnvelopeItem } from '../../domain/audit-device-view.ts';
import type { EnvelopeView } from '../../domain/audit-view.ts';
import { formatBytes, formatCount, formatDateTime } from '../format.ts';
import { stateMark } from '../marks.ts';
import type { App } from '../page.ts';
import { auditor } from './api.ts';
import { envelopeView } from './envelope.ts';

export interface NewestPanel {
  load(): Promise<void>;
  /** Whether one is looked into, so that the list should stay as it is. */
  isLookedInto(): boolean;
  view(): TemplateResult | typeof nothing;
}

export function createNewestPanel(app: App, device: string): NewestPanel {
  let items: readonly EnvelopeItem[] = [];
  let shown: { readonly number: number; readonly view: EnvelopeView } | undefined;
  const show = (number: number): void =>
    app.attempt(async () => {
      shown = shown?.number === number ? undefined : { number, view: await auditor.archived(number) };
      app.refresh();
    });
  return {
    load: async () => {
      items = await auditor.newest(device);
    },
    isLookedInto: () => shown !== undefined,
    view: () => (items.length === 0 ? nothing : table(items, shown, show)),
  };
}

const tones = { passed: 'quiet', released: 'good', held: 'busy', denied: 'bad' } as const;

function table(
  items: readonly EnvelopeItem[],
  shown: { readonly number: number; readonly view: EnvelopeView } | undefined,
  show: (number: number) => void,
): TemplateResult {
  return html`<section class="card flush">
    <h2 class="inset">Newest envelopes</h2>
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th scope="col" class="number">Entry</th>
            <th scope="col">Opened</th>
            <th scope="col">Received</th>
            <th scope="col" class="number">Sequence</th>
            <th scope="col">Outcome</th>
            <th scope="col" class="number">Size</th>
            <th scope="col" class="number">Channels</th>
            <th scope="col">For</th>
          </tr>
        </thead>
        <tbody>
          ${items.map(
            (item) =>
              html`<tr>
                  <td class="number">${formatCount(item.number)}</td>
                  <td>
                    <button
                      class="plain"
                      aria-label="${shown?.number === item.number ? 'Close' : 'Look inside'} entry ${item.number}"
                      aria-expanded=${shown?.number === item.number ? 'true' : 'false'}
                      @click=${() => show(item.number)}
                    >
                      ${shown?.number === item.number ? 'Close' : 'Look inside'}
                    </button>
                  </td>
                  <td>${formatDateTime(item.receivedMs)}</td>
                  <td class="number">${item.sequence === undefined ? '–' : formatCount(item.sequence)}</td>
                  <td>
                    ${stateMark(item.outcome, tones[item.outcome])}
                    ${item.alarm === undefined ? nothing : html`<span class="mark abnormal">${item.alarm}</span>`}
                  </td>
                  <td class="number">${formatBytes(item.bytes)}</td>
                  <td class="number">${item.channelCount ?? '–'}</td>
                  <td class="wrap">${item.recipients.join(', ')}</td>
                </tr>
                ${
                  shown?.number === item.number
                    ? html`<tr>
                        <td colspan="8"><div class="inside">${envelopeView(shown.view, [])}</div></td>
                      </tr>`
                    : nothing
                }`,
          )}
        </tbody>
      </table>
    </div>
  </section>`;
}
