/** NASA's C-MAPSS turbofan files: one machine per engine, one snapshot per flight. */
import type { Reading, Snapshot } from '../../domain/snapshot.ts';
import type { Collected, Collector } from './collector.ts';
import { quoted, rejection } from './collector.ts';
import type { Line } from './lines.ts';
import { readLines } from './lines.ts';
import { readNumber } from './number.ts';
import { readTextFile } from './text-file.ts';

/**
 * The 26 columns. Order from the readme of the data set; names, units and meaning of the sensors from table 2 of
 * A. Saxena, K. Goebel, D. Simon, N. Eklund, "Damage Propagation Modeling for Aircraft Engine Run-to-Failure
 * Simulation", PHM08, 2008; names and units of the settings from the same paper, section IV. The groups are ours.
 */
export const cmapssColumns = [
  { channel: undefined, unit: undefined, about: 'engine' },
  { channel: 'counters.cycle', unit: undefined, about: 'flights since the engine was new' },
  { channel: 'settings.altitude', unit: 'kft', about: 'operational setting 1' },
  { channel: 'settings.mach', unit: '1', about: 'operational setting 2' },
  { channel: 'settings.TRA', unit: 'deg', about: 'operational setting 3: throttle resolver angle' },
  { channel: 'inlet.T2', unit: 'degR', about: 'total temperature at fan inlet' },
  { channel: 'compressor.T24', unit: 'degR', about: 'total temperature at LPC outlet' },
  { channel: 'compressor.T30', unit: 'degR', about: 'total temperature at HPC outlet' },
  { channel: 'turbine.T50', unit: 'degR', about: 'total temperature at LPT outlet' },
  { channel: 'inlet.P2', unit: 'psia', about: 'pressure at fan inlet' },
  { channel: 'bypass.P15', unit: 'psia', about: 'total pressure in bypass duct' },
  { channel: 'compressor.P30', unit: 'psia', about: 'total pressure at HPC outlet' },
  { channel: 'rotor.Nf', unit: 'rpm', about: 'physical fan speed' },
  { channel: 'rotor.Nc', unit: 'rpm', about: 'physical core speed' },
  { channel: 'performance.epr', unit: '1', about: 'engine pressure ratio P50/P2' },
  { channel: 'compressor.Ps30', unit: 'psia', about: 'static pressure at HPC outlet' },
  { channel: 'fuel.phi', unit: 'pps/psi', about: 'ratio of fuel flow to Ps30' },
  { channel: 'rotor.NRf', unit: 'rpm', about: 'corrected fan speed' },
  { channel: 'rotor.NRc', unit: 'rpm', about: 'corrected core speed' },
  { channel: 'bypass.BPR', unit: '1', about: 'bypass ratio' },
  { channel: 'fuel.farB', unit: '1', about: 'burner fuel-air ratio' },
  { channel: 'bleed.htBleed', unit: '1', about: 'bleed enthalpy' },
  { channel: 'demand.Nf_dmd', unit: 'rpm', about: 'demanded fan speed' },
  { channel: 'demand.PCNfR_dmd', unit: 'rpm', about: 'demanded corrected fan speed' },
  { channel: 'bleed.W31', unit: 'lbm/s', about: 'HPT coolant bleed' },
  { channel: 'bleed.W32', unit: 'lbm/s', about: 'LPT coolant bleed' },
] as const;

export const cmapssDeviceType = 'CMAPSS';
/** The files state no time. The first day of PHM08, where the data set was published, is cycle 0. */
export const cmapssStartMs = Date.UTC(2008, 9, 6);
/** One flight every six hours. */
export const cmapssCycleMs = 6 * 3_600_000;

const engineMax = 100_000;
const cycleMax = 1_000_000;

/**
 * Reads a file in its own order, plain or gzip.
 *
 * @returns samples whose `device` is the engine's number as text
 * @throws CollectorError `collector.unreadable`
 */
export async function* collectCmapss(file: string): Collector {
  for await (const lines of readLines(readTextFile(file))) {
    for (const line of lines) {
      if (line.text?.trim() === '') continue;
      yield readRow(line);
    }
  }
}

function readRow(line: Line): Collected {
  if (line.text === undefined)
    return rejection(line.number, line.fault ?? 'damaged', 'the line is not whole');
  const fields = line.text.trim().split(/\s+/);
  if (fields.length !== cmapssColumns.length) {
    const detail = `row has ${fields.length} columns; a C-MAPSS row has ${cmapssColumns.length}`;
    return rejection(line.number, 'column-count', detail);
  }
  const readings: Reading[] = [];
  let engine = 0;
  let cycle = 0;
  for (const [index, column] of cmapssColumns.entries()) {
    const field = fields[index] ?? '';
    const value = readNumber(field);
    if (value === undefined) {
      return rejection(line.number, 'not-a-number', `column ${index + 1} is ${quoted(field)}`);
    }
    if (index === 0) engine = value;
    if (index === 1) cycle = value;
    if (column.channel === undefined) continue;
    readings.push(
      column.unit === undefined
        ? { channel: column.channel, value }
        : { channel: column.channel, unit: column.unit, value },
    );
  }
  if (!isCount(engine, engineMax) || !isCount(cycle, cycleMax)) {
    return rejection(
      line.number,
      'bad-value',
      `engine ${engine}, cycle ${cycle}: wanted whole numbers from 1`,
    );
  }
  const timeMs = cmapssStartMs + cycle * cmapssCycleMs;
  const snapshot: Snapshot = { timeMs, deviceType: cmapssDeviceType, readings };
  return { kind: 'sample', device: String(engine), snapshot, line: line.number };
}

function isCount(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= max;
}
