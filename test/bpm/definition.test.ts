import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parseDefinition } from '../../bpm/definition.ts';
import { parseDurationMs } from '../../bpm/duration.ts';
import { processXml } from './process-xml.ts';

const shipped = readFileSync('bpm/processes/condition.bpmn', 'utf8');

void test('parseDefinition: the shipped process is read whole, and every element is drawn', async () => {
  const definition = await parseDefinition(shipped);
  assert.equal(definition.name, 'condition');
  assert.equal(definition.start, 'Start_Classified');
  assert.equal(definition.elements.size, 18);
  for (const { id, outgoing } of definition.elements.values()) {
    for (const drawn of [id, ...outgoing.map((flow) => flow.id)]) {
      assert.ok(shipped.includes(`bpmnElement="${drawn}"`), `${drawn} has no shape`);
    }
  }
  assert.deepEqual(definition.elements.get('Timer_Investigate')?.behaviour, {
    kind: 'boundary',
    durationMs: 172_800_000,
    host: 'Task_Investigate',
    interrupting: false,
  });
});

void test('parseDefinition: an element that the engine does not run is refused by its id', async () => {
  const refused = [
    '<scriptTask id="Bad"><script>process.exit()</script></scriptTask>',
    '<businessRuleTask id="Bad" />',
    '<callActivity id="Bad" calledElement="other" />',
    '<subProcess id="Bad" />',
    '<inclusiveGateway id="Bad" />',
    '<intermediateCatchEvent id="Bad"><messageEventDefinition id="m" /></intermediateCatchEvent>',
    '<serviceTask id="Bad" plombe:operation="rm -rf" />',
    '<sendTask id="Bad" plombe:notify="fax" plombe:recipients="list"><documentation>x</documentation></sendTask>',
    '<userTask id="Bad"><documentation>x</documentation><multiInstanceLoopCharacteristics /></userTask>',
  ];
  for (const element of refused) {
    const xml = processXml(`
      <startEvent id="S" />${element}<endEvent id="E" />
      <sequenceFlow id="F1" sourceRef="S" targetRef="Bad" /><sequenceFlow id="F2" sourceRef="Bad" targetRef="E" />`);
    await assert.rejects(parseDefinition(xml), { code: 'process.unsupported', elementId: 'Bad' }, element);
  }
});

const flow = (id: string, from: string, to: string, inner = ''): string =>
  `<sequenceFlow id="${id}" sourceRef="${from}" targetRef="${to}">${inner}</sequenceFlow>`;
const condition = (text: string): string => `<conditionExpression>${text}</conditionExpression>`;

void test('parseDefinition: a process that cannot run is refused, naming the element', async () => {
  const ends = '<startEvent id="S" /><endEvent id="E" />';
  const cases: readonly [string, string | undefined, string][] = [
    ['process.invalid', undefined, '<endEvent id="E" />'],
    ['process.invalid', 'S2', `${ends}<startEvent id="S2" />${flow('F', 'S', 'E')}${flow('F2', 'S2', 'E')}`],
    ['process.invalid', 'S', ends],
    ['process.invalid', 'S', `${ends}<endEvent id="E2" />${flow('F', 'S', 'E')}${flow('F2', 'S', 'E2')}`],
    ['process.invalid', 'F', `${ends}${flow('F', 'S', 'E', condition('sequence = 1'))}`],
    [
      'process.invalid',
      'F3',
      `${ends}<endEvent id="E2" /><exclusiveGateway id="G" />${flow('F', 'S', 'G')}
       ${flow('F2', 'G', 'E', condition('sequence = 1'))}${flow('F3', 'G', 'E2')}`,
    ],
    [
      'process.invalid',
      'F2',
      `${ends}<exclusiveGateway id="G" />${flow('F', 'S', 'G')}${flow('F2', 'G', 'E', condition('wrong = 1'))}`,
    ],
    [
      'process.expression',
      'F2',
      `${ends}<exclusiveGateway id="G" />${flow('F', 'S', 'G')}${flow('F2', 'G', 'E', condition('process.exit()'))}`,
    ],
    ['process.invalid', 'T', `${ends}<userTask id="T" />${flow('F', 'S', 'T')}${flow('F2', 'T', 'E')}`],
    [
      'process.invalid',
      'G1',
      `${ends}<parallelGateway id="G1" /><parallelGateway id="G2" />${flow('F', 'S', 'E')}${flow('F2', 'G1', 'G2')}${flow('F3', 'G2', 'G1')}`,
    ],
  ];
  for (const [code, elementId, body] of cases) {
    await assert.rejects(parseDefinition(processXml(body)), { code, elementId }, body);
  }
});

void test('parseDefinition: what is no BPMN is refused', async () => {
  const bad = [
    '',
    'hello',
    '<html></html>',
    `<!DOCTYPE x [<!ENTITY a "b">]>${processXml('<startEvent id="S" />')}`,
    processXml('<startEvent id="S" /><sequenceFlow id="F" sourceRef="S" targetRef="nowhere" />'),
    `${' '.repeat(1024 * 1024)}x`,
  ];
  for (const xml of bad) {
    await assert.rejects(
      parseDefinition(xml),
      { code: /^process\.(malformed|unsupported)$/ },
      xml.slice(0, 60),
    );
  }
});

void test('parseDefinition: a cut file is refused at every place', async () => {
  for (let cut = 0; cut < shipped.length - 20; cut += 211) {
    await assert.rejects(parseDefinition(shipped.slice(0, cut)), { name: 'ProcessError' }, `cut at ${cut}`);
  }
});

void test('parseDurationMs: weeks to seconds; months and nonsense are refused', () => {
  assert.equal(parseDurationMs('P2D'), 172_800_000);
  assert.equal(parseDurationMs('P1WT1H30M5S'), 604_800_000 + 5_405_000);
  for (const text of ['', 'P', 'PT', 'P1M', 'P1Y', '2D', 'P-1D', 'P1.5D', 'PT1D']) {
    assert.equal(parseDurationMs(text), undefined, text);
  }
});
