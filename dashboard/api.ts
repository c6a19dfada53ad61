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
import { get, post, query, request } from './http.ts';

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

export const api = {
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
