/** One workflow: its diagram, with the way that it took. */
import { html, nothing } from 'lit-html';
import { createRef, ref } from 'lit-html/directives/ref.js';
import type { Workflow } from '../../domain/view.ts';
import { api } from '../api.ts';
import type { Diagram } from '../diagram.ts';
import { drawDiagram } from '../diagram.ts';
import { formatDateTime, formatReason } from '../format.ts';
import { conditionMark, deviceLink, emptyList, heading, stateMark } from '../marks.ts';
import type { App, Page } from '../page.ts';
import { atMostEvery } from '../page.ts';
import { workflowTones } from './workflows.ts';

const reloadMs = 2000;

export function createWorkflowPage(app: App, id: string): Page {
  const host = createRef<HTMLElement>();
  let workflow: Workflow | undefined;
  let loaded = false;
  let diagram: Diagram | undefined;
  let drawn = '';
  const draw = async (): Promise<void> => {
    const { value: container } = host;
    if (workflow === undefined || container === undefined) return;
    const way = JSON.stringify([workflow.digest, workflow.visited, workflow.waitingAt]);
    if (way === drawn) return;
    const xml = await api.definition(workflow.definition, workflow.digest);
    diagram?.destroy();
    diagram = await drawDiagram(container, xml, workflow.visited, workflow.waitingAt);
    drawn = way;
  };
  const load = async (): Promise<void> => {
    [workflow] = await api.workflows({ id });
    loaded = true;
    app.refresh();
    // The container is there when the page was drawn with the workflow in it.
    requestAnimationFrame(() => requestAnimationFrame(() => app.attempt(draw)));
  };
  const reload = atMostEvery(reloadMs, () => app.attempt(load));
  return {
    title: 'Workflow',
    load,
    changed: reload,
    stop: () => {
      reload.cancel();
      diagram?.destroy();
    },
    view: () =>
      html`<nav class="crumbs" aria-label="Breadcrumb"><a href="#/workflows">Workflows</a></nav>
        ${heading('Workflow', 'The way that it took is drawn strong; where it waits is filled.')}
        ${
          workflow === undefined
            ? loaded
              ? emptyList('There is no such workflow', 'Or it belongs to a device that you may not see.')
              : nothing
            : html`<section class="card facts">
                  <div><span>Device</span>${deviceLink(workflow.path)}</div>
                  <div><span>Condition</span>${conditionMark(workflow.classification)}</div>
                  <div>
                    <span>State</span>${stateMark(workflow.state, workflowTones[workflow.state] ?? 'quiet')}
                  </div>
                  <div><span>Began</span>${formatDateTime(workflow.startedMs)}</div>
                  <div><span>Ended</span>${formatDateTime(workflow.endedMs)}</div>
                  <div class="wide"><span>Why</span>${formatReason(workflow.reason)}</div>
                  ${workflow.detail === '' ? nothing : html`<div class="wide"><span>Failed</span>${workflow.detail}</div>`}
                </section>
                <section class="card flush"><div class="diagram" ${ref(host)}></div></section>`
        }`,
  };
}
