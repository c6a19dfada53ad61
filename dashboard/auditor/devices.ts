/** The devices that anything was recorded of, and who reads what they send. */
import type { TemplateResult } from 'lit-html';
import { html } from 'lit-html';
import type { DeviceItem } from '../../domain/audit-device-view.ts';
import type { Completeness } from '../../domain/audit-view.ts';
import { deviceLink, emptyList, heading } from '../marks.ts';
import type { App, Page } from '../page.ts';
import { atMostEvery } from '../page.ts';
import { table } from '../table.ts';
import { auditor } from './api.ts';
import { completenessMarks, incompleteOf } from './completeness.ts';
import { levelText } from './policy.ts';

const reloadMs = 5000;

interface Shown {
  readonly devices: readonly DeviceItem[];
  readonly completeness: Completeness;
}

export function createDevicesPage(app: App): Page {
  let shown: Shown | undefined;
  const load = async (): Promise<void> => {
    const [devices, completeness] = await Promise.all([auditor.devices(), auditor.completeness()]);
    shown = { devices, completeness };
    app.refresh();
  };
  const reload = atMostEvery(reloadMs, () => app.attempt(load));
  return {
    title: 'Devices',
    load,
    changed: (what) => what === 'entries' && reload(),
    stop: () => reload.cancel(),
    view: () =>
      html`${heading('Devices', 'Who gets what of each, everything about it as a file, and its data sheet.')}
      ${shown === undefined ? html`<p class="quiet" role="status">Loading…</p>` : listOf(shown)}`,
  };
}

function listOf({ devices, completeness }: Shown): TemplateResult {
  if (devices.length === 0)
    return emptyList('No device yet', 'A device is here as soon as it has sent something.');
  return html`<section class="card flush">
    ${table(
      ['Device', 'Completeness', 'Policies in force', 'Read by, beside the owner'],
      devices.map(
        ({ device, levels, readers }) =>
          html`<tr>
            <td>${deviceLink(device)}</td>
            <td>${completenessMarks(incompleteOf(completeness, device))}</td>
            <td>${levels.length === 0 ? 'none' : levels.map(levelText).join(', ')}</td>
            <td class="wrap">${readers.length === 0 ? 'nobody' : readers.join(', ')}</td>
          </tr>`,
      ),
    )}
  </section>`;
}
