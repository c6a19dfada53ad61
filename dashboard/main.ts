/** The dashboard's start: which pages there are. */
import { api } from './api.ts';
import { createBrokersPage } from './pages/brokers.ts';
import { createDevicePage } from './pages/device.ts';
import { createFleetPage } from './pages/fleet.ts';
import { createNotificationsPage } from './pages/notifications.ts';
import { createRefusedPage } from './pages/refused.ts';
import { createTasksPage } from './pages/tasks.ts';
import { createThresholdsPage } from './pages/thresholds.ts';
import { createWorkflowPage } from './pages/workflow.ts';
import { createWorkflowsPage } from './pages/workflows.ts';
import type { App, Page } from './page.ts';
import { start } from './shell.ts';

void start({
  lead: 'Sealed telemetry. Sign in to see your devices.',
  links: [
    { hash: '#/', name: 'Fleet' },
    { hash: '#/thresholds', name: 'Thresholds' },
    { hash: '#/brokers', name: 'Brokers' },
    { hash: '#/tasks', name: 'Tasks' },
    { hash: '#/workflows', name: 'Workflows' },
    { hash: '#/notifications', name: 'Notifications' },
    { hash: '#/refused', name: 'Refused' },
  ],
  sections: { device: '', workflow: 'workflows' },
  pageFor,
  waiting: { hash: '#/tasks', count: async () => (await api.totals()).tasksOpen },
});

function pageFor(app: App, name: string, argument: string): Page {
  switch (name) {
    case 'device':
      return createDevicePage(app, argument);
    case 'thresholds':
      return createThresholdsPage(app, argument);
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
