/** The start of the auditor's page: what left, what is held, the devices, the policies, and the ledger. */
import type { App, Page } from '../page.ts';
import { start } from '../shell.ts';
import { auditor } from './api.ts';
import { createDevicePage } from './device.ts';
import { createDevicesPage } from './devices.ts';
import { createHeldPage } from './held.ts';
import { createLedgerPage } from './ledger.ts';
import { createPolicyPage } from './policy.ts';
import { createTodayPage } from './today.ts';

void start({
  lead: 'What leaves your premises. Sign in to see it, and to decide.',
  links: [
    { hash: '#/', name: 'Today' },
    { hash: '#/held', name: 'Held' },
    { hash: '#/devices', name: 'Devices' },
    { hash: '#/policy', name: 'Policy' },
    { hash: '#/ledger', name: 'Ledger' },
  ],
  sections: { device: 'devices' },
  pageFor,
  waiting: { hash: '#/held', count: async () => (await auditor.ledger()).held },
});

function pageFor(app: App, name: string, argument: string): Page {
  switch (name) {
    case 'held':
      return createHeldPage(app);
    case 'devices':
      return createDevicesPage(app);
    case 'device':
      return createDevicePage(app, argument);
    case 'policy':
      return createPolicyPage(app);
    case 'ledger':
      return createLedgerPage(app);
    default:
      return createTodayPage(app);
  }
}
