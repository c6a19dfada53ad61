/** The HTTP API of the backend, as the pages call it. */

export type Condition = 'normal' | 'abnormal' | 'overdue' | 'unknown';
export type Role = 'operator' | 'technician' | 'viewer';

export interface User {
  readonly user: string;
  readonly role: Role;
  readonly scope: string;
}

export interface Totals {
  readonly devices: number;
  readonly stored: number;
  readonly redelivered: number;
  readonly gapsOpen: number;
  readonly deadLetters: number;
  readonly alarmsOpen: number;
  readonly tasksOpen: number;
}

export interface FleetRow {
  readonly path: string;
  readonly deviceType: string;
  readonly connection: 'online' | 'offline' | 'unknown';
  readonly agentVersion: string;
  readonly lastSequence: number;
  readonly stored: number;
  readonly lastSnapshotMs: number | null;
  readonly receivedMs: number | null;
  readonly condition: Condition;
  readonly gapsOpen: number;
}

export type ChannelValue = number | boolean | string;

export interface LatestValue {
  readonly channel: string;
  readonly group: string;
  readonly unit: string | null;
  readonly value: ChannelValue;
  readonly timeMs: number;
}

export interface Gap {
  readonly fromSequence: number;
  readonly toSequence: number;
  readonly openedMs: number;
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

export interface Series {
  readonly channel: string;
  readonly unit: string | null;
  readonly timesMs: readonly number[];
  readonly min: readonly (number | null)[];
  readonly max: readonly (number | null)[];
  readonly mean: readonly (number | null)[];
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

export interface Task {
  readonly id: string;
  readonly instanceId: string;
  readonly path: string;
  readonly deviceType: string;
  readonly classification: Condition;
  readonly title: string;
  readonly instructions: string;
  readonly assignee: string;
  readonly state: 'open' | 'completed' | 'cancelled';
  readonly createdMs: number;
  readonly completedMs: number | null;
  readonly completedBy: string;
  readonly comment: string;
}

export interface Notification {
  readonly id: string;
  readonly instanceId: string;
  readonly path: string;
  readonly channel: string;
  readonly recipients: string;
  readonly subject: string;
  readonly body: string;
  readonly state: 'pending' | 'sending' | 'sent' | 'failed' | 'listed';
  readonly attempts: number;
  readonly createdMs: number;
  readonly sentMs: number | null;
  readonly detail: string;
}

export interface Workflow {
  readonly id: string;
  readonly definition: string;
  readonly digest: string;
  readonly path: string;
  readonly classification: Condition;
  readonly state: 'running' | 'completed' | 'failed';
  readonly reason: string;
  readonly detail: string;
  readonly startedMs: number;
  readonly endedMs: number | null;
  readonly visited: readonly string[];
  readonly waitingAt: readonly string[];
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

export interface ConditionItem {
  readonly condition: Condition;
  readonly sinceMs: number | null;
  readonly reason: string;
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
