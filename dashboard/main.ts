/** The dashboard's start: who is there, which page, and the frame around it. */
import type { TemplateResult } from 'lit-html';
import { html, nothing, render } from 'lit-html';
import type { User } from './api.ts';
import { api, ApiError } from './api.ts';
import { listen } from './live.ts';
import type { App, Page } from './page.ts';
import { atMostEvery } from './page.ts';
import { createBrokersPage } from './pages/brokers.ts';
import { createDevicePage } from './pages/device.ts';
import { createFleetPage } from './pages/fleet.ts';
import { createLogin } from './pages/login.ts';
import { createNotificationsPage } from './pages/notifications.ts';
import { createRefusedPage } from './pages/refused.ts';
import { createTasksPage } from './pages/tasks.ts';
import { createWorkflowPage } from './pages/workflow.ts';
import { createWorkflowsPage } from './pages/workflows.ts';

const root = document.querySelector<HTMLElement>('#app') ?? document.body;
const faultShownMs = 8000;
const agesDrawnMs = 10_000;

const links = [
  { hash: '#/', name: 'Fleet' },
  { hash: '#/brokers', name: 'Brokers' },
  { hash: '#/tasks', name: 'Tasks' },
  { hash: '#/workflows', name: 'Workflows' },
  { hash: '#/notifications', name: 'Notifications' },
  { hash: '#/refused', name: 'Refused' },
] as const;

void begin();

async function begin(): Promise<void> {
  let user: User;
  try {
    user = await api.me();
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return showLogin();
    const reason = error instanceof Error ? error.message : String(error);
    render(
      html`<main class="login"><p class="card fault" role="alert">${reason} Trying again…</p></main>`,
      root,
    );
    setTimeout(() => void begin(), 3000);
    return;
  }
  run(user);
}

function showLogin(): void {
  document.title = 'Plombe';
  const draw = (): void => {
    render(login.view(), root);
  };
  const login = createLogin(draw, () => void begin());
  draw();
}

function run(user: User): void {
  const state = {
    page: undefined as Page | undefined,
    isLive: false,
    fault: '',
    tasksOpen: 0,
    isEnded: false,
  };
  const draw = (): void => {
    if (!state.isEnded) render(frame(user, state, logout), root);
  };
  let isDrawing = false;
  const refresh = (): void => {
    if (isDrawing) return;
    isDrawing = true;
    // A timer rather than an animation frame: a page in the background goes on, and is right when it is looked at.
    setTimeout(() => {
      isDrawing = false;
      draw();
    });
  };
  const attempt = (action: () => Promise<void>): void => {
    action().catch((error: unknown) => {
      if (error instanceof ApiError && error.status === 401) return end();
      state.fault = error instanceof Error ? error.message : String(error);
      refresh();
      setTimeout(() => {
        state.fault = '';
        refresh();
      }, faultShownMs);
    });
  };
  const app: App = { user, refresh, attempt };
  const countTasks = atMostEvery(2000, () =>
    attempt(async () => {
      state.tasksOpen = (await api.totals()).tasksOpen;
      refresh();
    }),
  );
  const open = (): void => {
    const page = pageFor(app, location.hash);
    state.page?.stop?.();
    state.page = page;
    document.title = `${page.title} · Plombe`;
    scrollTo(0, 0);
    refresh();
    attempt(() => page.load());
  };
  const stopListening = listen({
    snapshots: (events) => state.page?.snapshots?.(events),
    changed: (what) => {
      state.page?.changed?.(what);
      countTasks();
    },
    connected: (again) => {
      state.isLive = true;
      refresh();
      if (again) attempt(async () => state.page?.load());
    },
    lost: () => {
      state.isLive = false;
      refresh();
      // The session may have ended meanwhile, which only an answer can tell.
      attempt(async () => {
        await api.me().catch((error: unknown) => {
          if (error instanceof ApiError && error.status === 401) throw error;
        });
      });
    },
  });
  const ages = setInterval(refresh, agesDrawnMs);
  const end = (): void => {
    if (state.isEnded) return;
    state.isEnded = true;
    stopListening();
    clearInterval(ages);
    countTasks.cancel();
    removeEventListener('hashchange', open);
    state.page?.stop?.();
    showLogin();
  };
  const logout = (): void =>
    attempt(async () => {
      await api.logout();
      end();
    });
  addEventListener('hashchange', open);
  open();
  countTasks();
}

function pageFor(app: App, hash: string): Page {
  const [, name = '', ...rest] = hash.split('/');
  const argument = decodeURIComponent(rest.join('/'));
  switch (name) {
    case 'device':
      return createDevicePage(app, argument);
    case 'brokers':
      return createBrokersPage(app);
    case 'tasks':
      return createTasksPage(app);
    case 'workflows':
      return createWorkflowsPage(app);
    case 'workflow':
      return createWorkflowPage(app, argument);
    case 'notifications':
      return createNotificationsPage(app);
    case 'refused':
      return createRefusedPage(app);
    default:
      return createFleetPage(app);
  }
}

interface FrameState {
  readonly page: Page | undefined;
  readonly isLive: boolean;
  readonly fault: string;
  readonly tasksOpen: number;
}

function frame(user: User, state: FrameState, logout: () => void): TemplateResult {
  return html`<a class="skip" href="#content" @click=${skipToContent}>Skip to content</a>
    <div class="frame">
      <aside>
        <a class="brand" href="#/"
          ><img src="./seal.svg" alt="" width="28" height="28" /><span>Plombe</span></a
        >
        <nav aria-label="Pages">
          ${links.map(
            ({ hash, name }) =>
              html`<a href=${hash} aria-current=${isCurrent(hash) ? 'page' : nothing}
                >${name}${
                  hash === '#/tasks' && state.tasksOpen > 0
                    ? html`<span class="badge" aria-label="${state.tasksOpen} open">${state.tasksOpen}</span>`
                    : nothing
                }</a
              >`,
          )}
        </nav>
        <div class="who">
          <span class="live ${state.isLive ? 'on' : 'off'}" role="status"
            >${state.isLive ? 'Live' : 'Reconnecting…'}</span
          >
          <span class="name" title=${user.scope === '' ? 'Sees everything' : `Sees ${user.scope}`}
            ><strong>${user.user}</strong
            ><small>${user.role}${user.scope === '' ? '' : ` · ${user.scope}`}</small></span
          >
          <button class="plain" @click=${logout}>Sign out</button>
        </div>
      </aside>
      <main id="content" tabindex="-1">${state.page?.view() ?? nothing}</main>
    </div>
    ${state.fault === '' ? nothing : html`<div class="toast" role="alert">${state.fault}</div>`}`;
}

/** The address is the router's, so the jump is made by hand. */
function skipToContent(event: Event): void {
  event.preventDefault();
  document.querySelector<HTMLElement>('#content')?.focus();
}

function isCurrent(hash: string): boolean {
  const [, name = ''] = location.hash.split('/');
  const section = name === 'device' ? '' : name === 'workflow' ? 'workflows' : name;
  return hash === `#/${section}`;
}
