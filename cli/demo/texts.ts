/** What the demo says in words: where to look, how to sign in, and who was refused. */
import type { LogRecord } from './supervisor.ts';
import type { DemoUsers, Releaser } from './users.ts';

export function introductionText(
  dashboardUrl: string,
  { operator, viewers, releasers }: DemoUsers,
  logFolder: string,
): string {
  return `
Dashboard   ${dashboardUrl}
  vendor    user ${operator.user}, password ${operator.password}
${viewers.map(({ user, password }) => `  customer  user ${user}, password ${password}`).join('\n')}
${releasers.map(releaserText).join('\n')}
Logs        ${logFolder}
Stop with Ctrl-C
`;
}

function releaserText({ url, user, password }: Releaser): string {
  return `Auditor     ${url}, where ${user} sees and decides what leaves
  customer  user ${user}, password ${password}`;
}

export function refusalText({ event, identity, topic, filter, reason }: LogRecord): string {
  const who = typeof identity === 'string' ? identity : 'an unknown client';
  switch (event) {
    case 'subscription.denied':
      return `refused: ${who} may not subscribe ${String(filter)}`;
    case 'publish.denied':
      return `refused: ${who} may not publish ${String(topic)}`;
    default:
      return `refused: ${who} may not connect (${String(reason)})`;
  }
}
