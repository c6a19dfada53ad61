/** What workflows ask of people. */
import type { TemplateResult } from 'lit-html';
import { html, nothing } from 'lit-html';
import { repeat } from 'lit-html/directives/repeat.js';
import type { Task } from '../../domain/view.ts';
import { api } from '../api.ts';
import { formatAgo, formatDateTime, formatReason } from '../format.ts';
import { conditionMark, deviceLink, emptyList, heading, stateMark } from '../marks.ts';
import type { App, Page } from '../page.ts';
import { atMostEvery, fieldText } from '../page.ts';
import { table } from '../table.ts';

const reloadMs = 1000;
const commentLengthMax = 1000;
const closedShown = 50;

export function createTasksPage(app: App): Page {
  let tasks: readonly Task[] | undefined;
  const busy = new Set<string>();
  const load = async (): Promise<void> => {
    tasks = await api.tasks();
    app.refresh();
  };
  const reload = atMostEvery(reloadMs, () => app.attempt(load));
  const complete = (id: string, event: SubmitEvent): void => {
    event.preventDefault();
    if (!(event.target instanceof HTMLFormElement)) return;
    const comment = fieldText(event.target, 'comment');
    busy.add(id);
    app.refresh();
    app.attempt(async () => {
      try {
        await api.completeTask(id, comment);
      } finally {
        busy.delete(id);
      }
      await load();
    });
  };
  return {
    title: 'Tasks',
    load,
    changed: reload,
    stop: () => reload.cancel(),
    view: () => {
      const open = tasks?.filter((task) => task.state === 'open') ?? [];
      const closed = tasks?.filter((task) => task.state !== 'open').slice(0, closedShown) ?? [];
      const mayComplete = app.user.role !== 'viewer';
      return html`${heading('Tasks', 'What the workflows ask of people. A completed task lets its workflow go on.')}
        ${
          tasks !== undefined && open.length === 0
            ? emptyList(
                'Nothing to do',
                'A task appears here when a device becomes abnormal or its maintenance is overdue.',
              )
            : nothing
        }
        <div class="task-list">
          ${repeat(
            open,
            (task) => task.id,
            (task) => openTask(task, busy.has(task.id), mayComplete, complete),
          )}
        </div>
        ${closed.length === 0 ? nothing : closedTasks(closed)}`;
    },
  };
}

function openTask(
  task: Task,
  isBusy: boolean,
  mayComplete: boolean,
  complete: (id: string, event: SubmitEvent) => void,
): TemplateResult {
  return html`<article class="card task ${task.classification}">
    <header>
      <div>
        <h2>${task.title}</h2>
        <p>${deviceLink(task.path)} <span class="quiet">${task.deviceType}</span></p>
      </div>
      ${conditionMark(task.classification)}
    </header>
    <p>${formatReason(task.instructions)}</p>
    <p class="quiet">
      ${task.assignee === '' ? nothing : html`For: ${task.assignee} · `}
      <span title=${formatDateTime(task.createdMs)}>${formatAgo(task.createdMs)}</span> ·
      <a href="#/workflow/${task.instanceId}">Workflow</a>
    </p>
    ${
      mayComplete
        ? html`<form @submit=${(event: SubmitEvent) => complete(task.id, event)}>
            <label
              >Comment<textarea name="comment" rows="2" maxlength=${commentLengthMax} required></textarea>
            </label>
            <button class="primary" ?disabled=${isBusy}>Complete</button>
          </form>`
        : nothing
    }
  </article>`;
}

function closedTasks(tasks: readonly Task[]): TemplateResult {
  return html`<section class="card flush">
    <h2 class="inset">Closed</h2>
    ${table(
      ['Task', 'Device', 'State', 'By', 'Comment', 'When'],
      tasks.map(
        (task) =>
          html`<tr>
            <td>${task.title}</td>
            <td>${deviceLink(task.path)}</td>
            <td>${stateMark(task.state, task.state === 'completed' ? 'good' : 'quiet')}</td>
            <td>${task.completedBy}</td>
            <td class="wrap">${task.comment}</td>
            <td title=${formatDateTime(task.completedMs)}>${formatAgo(task.completedMs)}</td>
          </tr>`,
      ),
    )}
  </section>`;
}
