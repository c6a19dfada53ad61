/** Workflows: what the changed conditions of devices started. */
import type { TemplateResult } from 'lit-html';
import { html } from 'lit-html';
import { repeat } from 'lit-html/directives/repeat.js';
import type { Workflow } from '../../domain/view.ts';
import type { WorkflowCounts } from '../api.ts';
import { api } from '../api.ts';
import { formatAgo, formatCount, formatDateTime, formatReason } from '../format.ts';
import { conditionMark, conditionNames, deviceLink, emptyList, heading, stateMark } from '../marks.ts';
import type { App, Page } from '../page.ts';
import { atMostEvery } from '../page.ts';
import { table } from '../table.ts';

const reloadMs = 2000;
export const workflowTones = { running: 'busy', completed: 'good', failed: 'bad' } as const;
const counted = ['normal', 'abnormal', 'overdue'] as const;

export function createWorkflowsPage(app: App): Page {
  let workflows: readonly Workflow[] | undefined;
  let counts: WorkflowCounts = { normal: 0, abnormal: 0, overdue: 0 };
  const load = async (): Promise<void> => {
    [workflows, counts] = await Promise.all([api.workflows(), api.workflowCounts()]);
    app.refresh();
  };
  const reload = atMostEvery(reloadMs, () => app.attempt(load));
  return {
    title: 'Workflows',
    load,
    changed: reload,
    stop: () => reload.cancel(),
    view: () =>
      html`${heading('Workflows', 'One begins when the condition of a device has changed and held.')}
        <section class="tiles" aria-label="Workflows by condition">
          ${counted.map(
            (condition) =>
              html`<div class="tile ${condition}">
                <span>${conditionNames[condition]}</span><strong>${formatCount(counts[condition])}</strong
                ><small>started</small>
              </div>`,
          )}
        </section>
        ${
          workflows?.length === 0
            ? emptyList('No workflow has begun yet', 'The first snapshot of a device begins one.')
            : html`<section class="card flush">${workflowTable(workflows ?? [])}</section>`
        }`,
  };
}

export function workflowTable(workflows: readonly Workflow[]): TemplateResult {
  return table(
    ['Condition', 'Device', 'Why', 'State', 'Began', html`<span class="hidden">Open</span>`],
    repeat(
      workflows,
      (workflow) => workflow.id,
      (workflow) =>
        html`<tr>
          <td>${conditionMark(workflow.classification)}</td>
          <td>${deviceLink(workflow.path)}</td>
          <td class="wrap">${formatReason(workflow.reason)}</td>
          <td>${stateMark(workflow.state, workflowTones[workflow.state] ?? 'quiet')}</td>
          <td title=${formatDateTime(workflow.startedMs)}>${formatAgo(workflow.startedMs)}</td>
          <td><a href="#/workflow/${workflow.id}">Show the way it took</a></td>
        </tr>`,
    ),
  );
}
