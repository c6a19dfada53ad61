/** The HTTP API of the backend, as the pages call it. */
import type {
  BrokerRow,
  ConditionItem,
  FleetRow,
  Gap,
  LatestValue,
  Notification,
  Series,
  Task,
  Totals,
  Workflow,
} from '../domain/view.ts';

export type Role = 'operator' | 'technician' | 'viewer';

export interface User {
  readonly user: string;
  readonly role: Role;
  readonly scope: string;
}

export interface Alarm {
  readonly path: string;
  readonly kind: string;
  readonly sequence: number;
  readonly openedMs: number;
  /** Null while nobody has closed it. */
  readonly closedMs: number | null;
}

export interface CertificateItem {
  readonly kind: string;
  readonly subject: string;
  readonly notAfterMs: number;
  readonly sha256: string;
}

export interface Device extends FleetRow {
  readonly owner: string;
  readonly latest: readonly LatestValue[];
  readonly gaps: readonly Gap[];
  readonly certificates: readonly CertificateItem[];
  readonly alarms: readonly Alarm[];
}

export interface CommandItem {
  readonly id: string;
  readonly name: string;
  readonly state: string;
  readonly issuedMs: number;
  readonly issuedBy: string;
  readonly detail: string;
}

export interface DeadLetter {
  readonly topic: string;
  readonly reason: string;
  readonly detail: string;
  readonly receivedMs: number;
}

export interface WorkflowCounts {
  readonly normal: number;
  readonly abnormal: number;
  readonly overdue: number;
}

export interface GaugeRule {
  readonly label: string;
  readonly channel: string;
  readonly full: number;
  readonly empty: number;
  readonly part?: string;
}

export interface DeviceTypeRules {
  readonly deviceType: string;
  readonly title: string;
  readonly gauges: readonly GaugeRule[];
  readonly figures: readonly { readonly label: string; readonly channel: string }[];
}

/** The server's answer was not the one that was asked for. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  /** HTTP status; 0 if the server could not be reached. */
  readonly status: number;
  constructor(status: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.status = status;
  }
}

const query = (parameters: Readonly<Record<string, string | number>>): string =>
  new URLSearchParams(Object.entries(parameters).map(([name, value]) => [name, String(value)])).toString();

export const api = {
  me: () => get<User>('/api/me'),
  login: (user: string, password: string) => post('/api/login', { user, password }),
  logout: () => post('/api/logout', {}),
  totals: () => get<Totals>('/api/totals'),
  brokers: () => get<BrokerRow[]>('/api/brokers'),
  fleet: () => get<FleetRow[]>('/api/fleet'),
  device: (path: string) => get<Device>(`/api/device?${query({ path })}`),
  series: (parameters: { path: string; channel: string; fromMs: number; toMs: number; points: number }) =>
    get<Series>(`/api/series?${query(parameters)}`),
  commands: (path: string) => get<CommandItem[]>(`/api/commands?${query({ path })}`),
  sendCommand: (path: string, name: string) => post('/api/commands', { path, name }),
  deadLetters: () => get<DeadLetter[]>('/api/dead-letters'),
  alarms: () => get<Alarm[]>('/api/alarms'),
  tasks: () => get<Task[]>('/api/tasks'),
  completeTask: (id: string, comment: string) =>
    post(`/api/tasks/${encodeURIComponent(id)}/complete`, { comment }),
  notifications: () => get<Notification[]>('/api/notifications'),
  workflows: (select: { path?: string; id?: string } = {}) =>
    get<Workflow[]>(`/api/workflows?${query(select)}`),
  workflowCounts: () => get<WorkflowCounts>('/api/workflows/counts'),
  deviceTypeRules: (type: string) =>
    get<DeviceTypeRules>(`/api/device-types/${encodeURIComponent(type || 'default')}`),
  condition: (path: string) => get<ConditionItem>(`/api/condition?${query({ path })}`),
  definition: async (name: string, digest: string) =>
    (await request(`/api/definitions/${encodeURIComponent(name)}?${query({ digest })}`, {})).text(),
};

async function get<T>(url: string): Promise<T> {
  const response = await request(url, {});
  return (await response.json()) as T;
}

/** JSON also when there is nothing to say: the server takes a change from nothing else. */
async function post(url: string, body: object): Promise<void> {
  await request(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
}

async function request(url: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, { ...init, credentials: 'same-origin' });
  } catch (cause) {
    throw new ApiError(0, 'The server cannot be reached.', { cause });
  }
  if (response.ok) return response;
  throw new ApiError(response.status, await messageOf(response));
}

async function messageOf(response: Response): Promise<string> {
  try {
    const body: unknown = await response.json();
    if (typeof body === 'object' && body !== null && 'message' in body) return String(body.message);
  } catch {
    // not JSON: the status says it
  }
  return `The server answered ${response.status}.`;
}
