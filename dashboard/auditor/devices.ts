/** The devices that anything was recorded of, and who reads what they send. */
import type { TemplateResult } from 'lit-html';
import { html } from 'lit-html';
import type { DeviceItem } from '../../domain/audit-device-view.ts';
import { deviceLink, emptyList, heading } from '../marks.ts';
import type { App, Page } from '../page.ts';
import { auditor } from './api.ts';
import { levelText } from './policy.ts';

export function createDevicesPage(app: App): Page {
  let devices: readonly DeviceItem[] | undefined;
  return {
    title: 'Devices',
    load: async () => {
      devices = await auditor.devices();
      app.refresh();
    },
    view: () =>
      html`${heading('Devices', 'Who gets what of each, everything about it as a file, and its data sheet.')}
      ${devices === undefined ? html`<p class="quiet" role="status">Loading…</p>` : listOf(devices)}`,
  };
}

function listOf(devices: readonly DeviceItem[]): TemplateResult {
  if (devices.length === 0)
    return emptyList('No device yet', 'A device is here as soon as it has sent something.');
  return html`<section class="card flush">
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th scope="col">Device</th>
            <th scope="col">Policies in force</th>
            <th scope="col">Read by, beside the owner</th>
          </tr>
        </thead>
        <tbody>
          ${devices.map(
            ({ device, levels, readers }) =>
              html`<tr>
                <td>${deviceLink(device)}</td>
                <td>${levels.length === 0 ? 'none' : levels.map(levelText).join(', ')}</td>
                <td class="wrap">${readers.length === 0 ? 'nobody' : readers.join(', ')}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
  </section>`;
}
