/**
 * The channels of the two simulated machines, one row a channel.
 *
 * `FM` is a fuel meter of an engine test bed: fuel is pumped through a filter, conditioned and measured. `PC` is an
 * in-line particle counter for hydraulic or lubricating oil (ISO 4406 cleanliness codes).
 *
 * What rules can rely on, for every seed and any time:
 *
 * | channel | healthy, wearing, overdue | faulty |
 * |---|---|---|
 * | `fault.code` | 0 | 17, 23 or 41 |
 * | FM `fuel.temperature` | below 55 Cel | above 65 Cel |
 * | FM `bearing.vibration` | below 5 m/s2 | above 7 m/s2 |
 * | PC `oil.temperature` | below 68 Cel | above 75 Cel |
 * | PC `particles.iso-code-4um` | at most 19 | at least 21 |
 * | `service.hours-since` | below `service.interval`; above it if overdue | below `service.interval` |
 *
 * `*.life` channels are what is left of a part, in % of its life. Units are SenML names (RFC 8428 §12.1, RFC 8798 §3).
 */
import type { ChannelValue } from '../../domain/snapshot.ts';
import type { MachineState } from './machine-model.ts';
import { clamp } from './machine-model.ts';

export const simulatedTypes = ['FM', 'PC'] as const;
export type SimulatedType = (typeof simulatedTypes)[number];

export interface SimulatedChannel {
  readonly channel: string;
  readonly unit?: string;
  /** Digits after the point, as a real instrument would send them; absent for what is no measurement. */
  readonly decimals?: number;
  readonly value: (machine: MachineState) => ChannelValue;
}

const percentLeft = (wear: number): number => 100 * (1 - wear);
const isFaulty = (machine: MachineState): boolean => machine.faultCode !== 0;

/** The same on both machines. */
const sharedChannels: readonly SimulatedChannel[] = [
  {
    channel: 'electronics.supply-voltage',
    unit: 'V',
    decimals: 2,
    value: (m) => 24 - 0.2 * m.load + m.noise(0.03),
  },
  {
    channel: 'electronics.supply-current',
    unit: 'A',
    decimals: 3,
    value: (m) => 0.6 + 0.5 * m.load + m.noise(0.008),
  },
  { channel: 'electronics.core-voltage', unit: 'V', decimals: 3, value: (m) => 3.3 + m.noise(0.004) },
  {
    channel: 'electronics.board-temperature',
    unit: 'Cel',
    decimals: 1,
    value: (m) => m.ambientCelsius + 12 + 6 * m.load + m.noise(0.2),
  },
  {
    channel: 'electronics.humidity',
    unit: '%RH',
    decimals: 1,
    value: (m) => clamp(38 - 0.4 * m.heatKelvin + m.noise(0.5), 5, 95),
  },
  { channel: 'electronics.life', unit: '%', decimals: 1, value: (m) => percentLeft(m.wear[3]) },
  { channel: 'ambient.temperature', unit: 'Cel', decimals: 1, value: (m) => m.ambientCelsius + m.noise(0.1) },
  {
    channel: 'ambient.pressure',
    unit: 'hPa',
    decimals: 1,
    value: (m) => 1013 + 8 * (m.process - 1) + m.noise(0.2),
  },
  { channel: 'counters.operating-hours', unit: 'h', decimals: 2, value: (m) => m.operatingHours },
  { channel: 'counters.power-cycles', value: (m) => m.powerCycles },
  { channel: 'service.hours-since', unit: 'h', decimals: 2, value: (m) => m.hoursSinceService },
  { channel: 'service.interval', unit: 'h', decimals: 0, value: (m) => m.serviceIntervalHours },
  { channel: 'fault.code', value: (m) => m.faultCode },
  { channel: 'fault.active', value: (m) => isFaulty(m) },
  { channel: 'state.mode', value: (m) => (isFaulty(m) ? 'degraded' : 'measuring') },
  { channel: 'state.utilisation', unit: '%', decimals: 1, value: (m) => 100 * m.load },
];

/** How hard the machine is driven: for its maker worth knowing, for its owner a secret of the trade. Of any type. */
export const usageChannels: readonly SimulatedChannel[] = [
  { channel: 'usage.hours-idle', unit: 'h', decimals: 2, value: (m) => 0.22 * m.operatingHours },
  { channel: 'usage.hours-part-load', unit: 'h', decimals: 2, value: (m) => 0.61 * m.operatingHours },
  { channel: 'usage.hours-full-load', unit: 'h', decimals: 2, value: (m) => 0.17 * m.operatingHours },
  { channel: 'usage.runs', value: (m) => Math.floor(m.operatingHours / 1.5) },
];

const fuelFlow = (m: MachineState): number => 0.02 + 0.06 * m.load * m.process;
const fuelCelsius = (m: MachineState): number => m.ambientCelsius + m.heatKelvin;
/** Diesel at 15 Cel has about 835 kg/m3 and loses 0.7 a kelvin. */
const fuelDensity = (m: MachineState): number => 835 - 0.7 * (fuelCelsius(m) - 15);
const bearingVibration = (m: MachineState): number =>
  1.2 + 0.8 * m.load + 2.2 * m.wear[2] ** 2 + (isFaulty(m) ? 6 : 0);
const fuelFilterDrop = (m: MachineState): number => 120 + 480 * m.wear[1] ** 2 + 150 * m.load;

const fuelMeterChannels: readonly SimulatedChannel[] = [
  { channel: 'fuel.flow', unit: 'l/s', decimals: 5, value: (m) => fuelFlow(m) + m.noise(0.0002) },
  {
    channel: 'fuel.mass-flow',
    unit: 'g/s',
    decimals: 3,
    value: (m) => fuelFlow(m) * fuelDensity(m) + m.noise(0.15),
  },
  { channel: 'fuel.temperature', unit: 'Cel', decimals: 2, value: (m) => fuelCelsius(m) + m.noise(0.15) },
  {
    channel: 'fuel.temperature-return',
    unit: 'Cel',
    decimals: 2,
    value: (m) => fuelCelsius(m) + 3 + 4 * m.load + m.noise(0.2),
  },
  { channel: 'fuel.density', unit: 'kg/m3', decimals: 2, value: (m) => fuelDensity(m) + m.noise(0.05) },
  {
    channel: 'fuel.pressure-inlet',
    unit: 'hPa',
    decimals: 0,
    value: (m) => 1400 - 120 * m.load + m.noise(4),
  },
  {
    channel: 'fuel.pressure-outlet',
    unit: 'hPa',
    decimals: 0,
    value: (m) => 4200 - 500 * m.wear[0] - 200 * m.load + m.noise(8),
  },
  {
    channel: 'fuel.water-content',
    unit: 'ppm',
    decimals: 0,
    value: (m) => clamp(60 + 400 * (m.process - 1) + m.noise(2), 0, 500),
  },
  {
    channel: 'pump.current',
    unit: 'A',
    decimals: 3,
    value: (m) => 1.8 + 2.4 * m.load + 0.9 * m.wear[0] + m.noise(0.03),
  },
  {
    channel: 'pump.speed',
    unit: '1/min',
    decimals: 0,
    value: (m) => 1500 + 1400 * m.load + 200 * m.wear[0] + m.noise(6),
  },
  {
    channel: 'pump.temperature',
    unit: 'Cel',
    decimals: 1,
    value: (m) => fuelCelsius(m) + 6 + 8 * m.wear[0] + m.noise(0.2),
  },
  { channel: 'pump.life', unit: '%', decimals: 1, value: (m) => percentLeft(m.wear[0]) },
  {
    channel: 'filter.differential-pressure',
    unit: 'hPa',
    decimals: 0,
    value: (m) => fuelFilterDrop(m) + m.noise(4),
  },
  { channel: 'filter.life', unit: '%', decimals: 1, value: (m) => percentLeft(m.wear[1]) },
  { channel: 'filter.bypass-open', value: (m) => fuelFilterDrop(m) > 700 },
  {
    channel: 'bearing.vibration',
    unit: 'm/s2',
    decimals: 3,
    value: (m) => bearingVibration(m) + m.noise(0.05),
  },
  {
    channel: 'bearing.vibration-peak',
    unit: 'm/s2',
    decimals: 3,
    value: (m) => 2.8 * bearingVibration(m) + m.noise(0.2),
  },
  {
    channel: 'bearing.temperature',
    unit: 'Cel',
    decimals: 1,
    value: (m) => fuelCelsius(m) + 4 + 10 * m.wear[2] + m.noise(0.2),
  },
  { channel: 'bearing.life', unit: '%', decimals: 1, value: (m) => percentLeft(m.wear[2]) },
  { channel: 'conditioner.setpoint', unit: 'Cel', decimals: 1, value: () => 35 },
  {
    channel: 'conditioner.valve-position',
    unit: '%',
    decimals: 1,
    value: (m) => clamp(20 + 1.4 * m.heatKelvin + m.noise(0.5), 0, 100),
  },
  {
    channel: 'conditioner.coolant-temperature',
    unit: 'Cel',
    decimals: 1,
    value: (m) => 14 + 3 * m.load + m.noise(0.15),
  },
  {
    channel: 'sensor.zero-offset',
    unit: 'l/s',
    decimals: 7,
    value: (m) => 2e-6 + 1e-5 * m.wear[3] + m.noise(2e-7),
  },
  { channel: 'counters.fuel-total', unit: 'm3', decimals: 3, value: (m) => m.operatingHours * 0.2 },
];

/** Particles per millilitre above 4 µm; every size up is a fixed share of the one below. */
const particles = (m: MachineState): number =>
  1100 * m.process * (1 + 1.6 * m.wear[1]) * (isFaulty(m) ? 20 : 1);
const shares = { '6um': 0.25, '14um': 0.022, '21um': 0.006, '38um': 0.0006, '70um': 0.00005 } as const;
/** ISO 4406:2017 table 1: code 1 ends at 0.02 per millilitre, and each code doubles. */
const isoCode = (perMillilitre: number): number => Math.max(1, Math.ceil(Math.log2(perMillilitre / 0.01)));
const oilCelsius = (m: MachineState): number => m.ambientCelsius + 12 + m.heatKelvin;

function particleRow(size: keyof typeof shares): SimulatedChannel {
  return {
    channel: `particles.count-${size}`,
    unit: 'count',
    decimals: 2,
    value: (m) => Math.max(0, particles(m) * shares[size] * (1 + m.noise(0.02))),
  };
}

const particleCounterChannels: readonly SimulatedChannel[] = [
  {
    channel: 'particles.count-4um',
    unit: 'count',
    decimals: 1,
    value: (m) => particles(m) * (1 + m.noise(0.01)),
  },
  particleRow('6um'),
  particleRow('14um'),
  particleRow('21um'),
  particleRow('38um'),
  particleRow('70um'),
  { channel: 'particles.iso-code-4um', value: (m) => isoCode(particles(m)) },
  { channel: 'particles.iso-code-6um', value: (m) => isoCode(particles(m) * shares['6um']) },
  { channel: 'particles.iso-code-14um', value: (m) => isoCode(particles(m) * shares['14um']) },
  { channel: 'oil.temperature', unit: 'Cel', decimals: 2, value: (m) => oilCelsius(m) + m.noise(0.15) },
  { channel: 'oil.pressure', unit: 'hPa', decimals: 0, value: (m) => 5200 + 600 * m.load + m.noise(12) },
  {
    channel: 'oil.flow',
    unit: 'l/s',
    decimals: 5,
    value: (m) => 0.0017 * m.process - 0.0003 * m.wear[0] + m.noise(0.00001),
  },
  {
    channel: 'oil.water-saturation',
    unit: '%',
    decimals: 1,
    value: (m) => clamp(22 + 60 * (m.process - 1) + m.noise(0.3), 0, 100),
  },
  { channel: 'oil.permittivity', decimals: 3, value: (m) => 2.25 + 0.05 * m.wear[1] + m.noise(0.002) },
  { channel: 'laser.current', unit: 'mA', decimals: 2, value: (m) => 38 + 9 * m.wear[2] + m.noise(0.1) },
  {
    channel: 'laser.temperature',
    unit: 'Cel',
    decimals: 2,
    value: (m) => 25 + 0.05 * m.heatKelvin + m.noise(0.03),
  },
  { channel: 'laser.life', unit: '%', decimals: 1, value: (m) => percentLeft(m.wear[2]) },
  { channel: 'detector.voltage', unit: 'mV', decimals: 1, value: (m) => 1850 - 160 * m.wear[2] + m.noise(2) },
  { channel: 'detector.noise', unit: 'mV', decimals: 2, value: (m) => 2.1 + 1.5 * m.wear[3] + m.noise(0.05) },
  { channel: 'cell.transmission', unit: '%', decimals: 2, value: (m) => 98 - 14 * m.wear[1] + m.noise(0.1) },
  { channel: 'cell.life', unit: '%', decimals: 1, value: (m) => percentLeft(m.wear[1]) },
  {
    channel: 'pump.current',
    unit: 'mA',
    decimals: 1,
    value: (m) => 410 + 130 * m.wear[0] + 60 * m.load + m.noise(3),
  },
  { channel: 'pump.life', unit: '%', decimals: 1, value: (m) => percentLeft(m.wear[0]) },
  { channel: 'counters.samples', value: (m) => Math.floor(m.operatingHours * 60) },
];

export const simulatorChannels: Readonly<Record<SimulatedType, readonly SimulatedChannel[]>> = {
  FM: [...fuelMeterChannels, ...sharedChannels],
  PC: [...particleCounterChannels, ...sharedChannels],
};
