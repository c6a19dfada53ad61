/** What is around the pages of a program: the login, the frame, the address, and what the server tells. */
import type { TemplateResult } from 'lit-html';
import { html, nothing, render } from 'lit-html';
import { errorText } from '../domain/error-text.ts';
import type { User } from './http.ts';
import { ApiError, session } from './http.ts';
import { listen } from './live.ts';
import type { App, Page } from './page.ts';
import { atMostEvery } from './page.ts';
import { createLogin } from './pages/login.ts';
import { sealUrl } from './seal.ts';

const root = document.querySelector<HTMLElement>('#app') ?? document.body;
const faultShownMs = 8000;
const agesDrawnMs = 10_000;
/** What waits is counted at most this often. */
const countedMs = 2000;

/** What is different from one program's pages to another's. */
export interface Site {
  /** For whoever is not logged in, in a sentence. */
  readonly lead: string;
  readonly links: readonly { readonly hash: string; readonly name: string }[];
  /** Under which link a page is found, if not under its own. */
  readonly sections: Readonly<Record<string, string>>;
  /** @param argument - what follows the name of the page in the address */
  pageFor(app: App, name: string, argument: string): Page;
  /** What is counted beside one of the links, because it waits for somebody. */
  readonly waiting: { readonly hash: string; count(): Promise<number> };
}

/** Begins: who is there, which page, and the frame around it. */
export async function start(site: Site): Promise<void> {
  let user: User;
  try {
    user = await session.me();
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return showLogin(site);
    const reason = errorText(error);
    render(
      html`<main class="login"><p class="card fault" role="alert">${reason} Trying again…</p></main>`,
      root,
    );
    setTimeout(() => void start(site), 3000);
    return;
  }
  run(site, user);
}

function showLogin(site: Site): void {
  document.title = 'Plombe';
  const draw = (): void => {
    render(login.view(), root);
  };
  const login = createLogin(site.lead, draw, () => void start(site));
  draw();
}

function run(site: Site, user: User): void {
  const state = {
    page: undefined as Page | undefined,
    isLive: false,
    fault: '',
    waiting: 0,
    isEnded: false,
  };
  const draw = (): void => {
    if (!state.isEnded) render(frame(site, user, state, logout), root);
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
      state.fault = errorText(error);
      refresh();
      setTimeout(() => {
        state.fault = '';
        refresh();
      }, faultShownMs);
    });
  };
  const app: App = { user, refresh, attempt };
  const countWaiting = atMostEvery(countedMs, () =>
    attempt(async () => {
      state.waiting = await site.waiting.count();
      refresh();
    }),
  );
  const open = (): void => {
    const [, name = '', ...rest] = location.hash.split('/');
    const page = site.pageFor(app, name, decoded(rest.join('/')));
    state.page?.stop?.();
    state.page = page;
    document.title = `${page.title} · Plombe`;
    scrollTo(0, 0);
    refresh();
    setTimeout(showCurrentLink); // once it is drawn
    attempt(() => page.load());
  };
  const stopListening = listen({
    snapshots: (events) => state.page?.snapshots?.(events),
    changed: (what) => {
      state.page?.changed?.(what);
      countWaiting();
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
        await session.me().catch((error: unknown) => {
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
    countWaiting.cancel();
    removeEventListener('hashchange', open);
    state.page?.stop?.();
    showLogin(site);
  };
  const logout = (): void =>
    attempt(async () => {
      await session.logout();
      end();
    });
  addEventListener('hashchange', open);
  open();
  countWaiting();
}

interface FrameState {
  readonly page: Page | undefined;
  readonly isLive: boolean;
  readonly fault: string;
  readonly waiting: number;
}

function frame(site: Site, user: User, state: FrameState, logout: () => void): TemplateResult {
  return html`<a class="skip" href="#content" @click=${skipToContent}>Skip to content</a>
    <div class="frame">
      <aside>
        <a class="brand" href="#/"><img src=${sealUrl} alt="" width="28" height="28" /><span>Plombe</span></a>
        <nav aria-label="Pages">
          ${site.links.map(
            ({ hash, name }) =>
              html`<a href=${hash} aria-current=${isCurrent(site, hash) ? 'page' : nothing}
                >${name}${
                  hash === site.waiting.hash && state.waiting > 0
                    ? html`<span class="badge" aria-label="${state.waiting} open">${state.waiting}</span>`
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

/** An address may be typed, and then may hold a stray `%`. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Where the list of pages is wider than a phone. */
function showCurrentLink(): void {
  document.querySelector('nav [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' });
}

/** The address is the router's, so the jump is made by hand. */
function skipToContent(event: Event): void {
  event.preventDefault();
  document.querySelector<HTMLElement>('#content')?.focus();
}

function isCurrent(site: Site, hash: string): boolean {
  const [, name = ''] = location.hash.split('/');
  const section = site.sections[name] ?? name;
  return hash === `#/${section}`;
}
