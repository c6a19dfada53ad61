/** The start of the auditor's page: what left, what is held, and the ledger. */
import type { App, Page } from '../page.ts';
import { start } from '../shell.ts';
import { auditor } from './api.ts';
import { createHeldPage } from './held.ts';
import { createLedgerPage } from './ledger.ts';
import { createTodayPage } from './today.ts';

void start({
  lead: 'What leaves your premises. Sign in to see it, and to decide.',
  links: [
    { hash: '#/', name: 'Today' },
    { hash: '#/held', name: 'Held' },
    { hash: '#/ledger', name: 'Ledger' },
  ],
  sections: {},
  pageFor,
  waiting: { hash: '#/held', count: async () => (await auditor.ledger()).held },
});

function pageFor(app: App, name: string): Page {
  if (name === 'held') return createHeldPage(app);
  return name === 'ledger' ? createLedgerPage(app) : createTodayPage(app);
}
