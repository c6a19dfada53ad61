/** One device: who gets what of it, its newest envelopes, everything about it as files, and its data sheet. */
import type { TemplateResult } from 'lit-html';
import { html, nothing } from 'lit-html';
import type { DataSheet, DeviceView, SheetTable } from '../../domain/audit-device-view.ts';
import type { Completeness } from '../../domain/audit-view.ts';
import { formatDateTime } from '../format.ts';
import { heading } from '../marks.ts';
import type { App, Page } from '../page.ts';
import { atMostEvery } from '../page.ts';
import { auditor } from './api.ts';
import { completenessCard, completenessMarks, incompleteOf } from './completeness.ts';
import type { FilesPanel } from './files.ts';
import { createFilesPanel } from './files.ts';
import type { NewestPanel } from './newest.ts';
import { createNewestPanel } from './newest.ts';
import { commandsText, levelText, readerGroups } from './policy.ts';

const reloadMs = 2000;

export function createDevicePage(app: App, device: string): Page {
  let shown: DeviceView | undefined;
  let completeness: Completeness | undefined;
  const files = createFilesPanel(app);
  const newest = createNewestPanel(app, device);
  const loadCompleteness = async (): Promise<void> => {
    completeness = await auditor.completenessOf(device);
  };
  const reload = atMostEvery(reloadMs, () =>
    app.attempt(async () => {
      // What is looked into stays as it is.
      await Promise.all([loadCompleteness(), newest.isLookedInto() ? undefined : newest.load()]);
      app.refresh();
    }),
  );
  return {
    title: device,
    load: async () => {
      [shown] = await Promise.all([auditor.device(device), loadCompleteness(), newest.load()]);
      app.refresh();
    },
    changed: (what) => what === 'entries' && reload(),
    stop: () => reload.cancel(),
    view: () =>
      html`<nav class="crumbs" aria-label="Breadcrumb"><a href="#/devices">Devices</a></nav>
        ${heading(device, shown === undefined ? 'Loading…' : policiesText(shown))}
        ${completeness === undefined ? nothing : completenessOf(completeness)}
        ${shown === undefined ? nothing : contentOf(shown, files, newest)}`,
  };
}

function policiesText({ levels }: DeviceView): string {
  return levels.length === 0
    ? 'No policy speaks of it.'
    : `Policies in force: ${levels.map(levelText).join(', ')}`;
}

function completenessOf(completeness: Completeness): TemplateResult {
  return html`<p class="quiet" role="status">
      Numbers of its envelopes: ${completenessMarks(incompleteOf(completeness))}
    </p>
    ${completenessCard(completeness)}`;
}

function contentOf(view: DeviceView, files: FilesPanel, newest: NewestPanel): TemplateResult {
  const { device, groups, commands, sheet } = view;
  return html`<section class="card">
      <h2>Who gets what</h2>
      ${readerGroups(groups)}
      <p class="quiet">
        Commands that it obeys: ${commandsText(commands)}. The owner reads whatever anybody reads.
      </p>
    </section>
    ${files.view(view)} ${newest.view()} ${sheetCard(device, sheet)}`;
}

function sheetCard(device: string, { madeMs, sections }: DataSheet): TemplateResult {
  return html`<section class="card data-sheet">
    <h2>Data sheet</h2>
    <p class="quiet">
      As the EU Data Act, Regulation (EU) 2023/2854, wants it told. Made ${formatDateTime(madeMs)}. As a file:
      <a href=${auditor.sheetUrl(device, 'html')} download>HTML, to print</a>,
      <a href=${auditor.sheetUrl(device, 'md')} download>Markdown</a>.
    </p>
    ${sections.map(
      ({ title, articles, paragraphs, table }) =>
        html`<section>
          <h3>${title} <span class="quiet">${articles}</span></h3>
          ${paragraphs.map((text) => html`<p>${text}</p>`)} ${table === undefined ? nothing : tableOf(table)}
        </section>`,
    )}
  </section>`;
}

function tableOf({ columns, rows }: SheetTable): TemplateResult {
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${columns.join(', ')}>
    <table>
      <thead>
        <tr>
          ${columns.map((column) => html`<th scope="col">${column}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          (row) =>
            html`<tr>
              ${row.map((cell) => html`<td class="wrap">${cell}</td>`)}
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}
