/** The login. */
import type { TemplateResult } from 'lit-html';
import { html, nothing } from 'lit-html';
import { errorText } from '../../domain/error-text.ts';
import { ApiError, session } from '../http.ts';
import { fieldText } from '../page.ts';
import { sealUrl } from '../seal.ts';

export interface Login {
  view(): TemplateResult;
}

/**
 * @param lead - what is behind it, in a sentence
 * @param done - called when the server knows who this is
 */
export function createLogin(lead: string, refresh: () => void, done: () => void): Login {
  let fault = '';
  let busy = false;
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    if (!(event.target instanceof HTMLFormElement)) return;
    const form = event.target;
    busy = true;
    fault = '';
    refresh();
    try {
      await session.login(fieldText(form, 'user'), fieldText(form, 'password'));
      done();
    } catch (error) {
      fault = faultText(error);
    }
    busy = false;
    refresh();
  };
  return {
    view: () =>
      html`<main class="login">
        <form class="card" @submit=${(event: SubmitEvent) => void submit(event)}>
          <div class="brand"><img src=${sealUrl} alt="" width="40" height="40" /><span>Plombe</span></div>
          <p class="lead">${lead}</p>
          <label>User name<input name="user" autocomplete="username" required autofocus /></label>
          <label
            >Password<input name="password" type="password" autocomplete="current-password" required
          /></label>
          ${fault === '' ? nothing : html`<p class="fault" role="alert">${fault}</p>`}
          <button class="primary" ?disabled=${busy}>${busy ? 'Signing in…' : 'Sign in'}</button>
        </form>
      </main>`,
  };
}

function faultText(error: unknown): string {
  if (error instanceof ApiError && error.status === 401) return 'User name or password is wrong.';
  if (error instanceof ApiError && error.status === 429)
    return 'Too many attempts. Wait a minute and try again.';
  return errorText(error);
}
