import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { parseDefinition } from '../../bpm/definition.ts';
import type { Definition } from '../../bpm/definition.ts';
import type { Step, Token } from '../../bpm/engine.ts';
import { resumeInstance, startInstance } from '../../bpm/engine.ts';
import { processXml } from './process-xml.ts';

const shipped = await parseDefinition(readFileSync('bpm/processes/condition.bpmn', 'utf8'));
const base = { device: 'm/a/e', deviceType: 'FM', reason: 'r', sequence: 1 };

function createContext(nowMs = 0): { nowMs: number; newId: () => string } {
  let count = 0;
  return { nowMs, newId: () => `t${++count}` };
}

/** What the database would hold after `step`. */
function apply(tokens: readonly Token[], step: Step): Token[] {
  return [...tokens.filter((token) => !step.removedTokenIds.includes(token.id)), ...step.addedTokens];
}

void test('startInstance: normal sends one mail and ends', () => {
  const step = startInstance(shipped, { ...base, classification: 'normal' }, createContext());
  assert.equal(step.ended, true);
  assert.deepEqual(
    step.messages.map(({ channel, recipients }) => `${channel} ${recipients}`),
    ['mail list'],
  );
  assert.deepEqual(step.tasks, []);
  assert.deepEqual(step.visited, [
    'Start_Classified',
    'Flow_Classified',
    'Gateway_Condition',
    'Flow_Normal',
    'Send_Normal',
    'Flow_Reported',
    'End_Reported',
  ]);
});

void test('startInstance: abnormal sends a text message and waits for the investigation', () => {
  const context = createContext();
  const started = startInstance(shipped, { ...base, classification: 'abnormal' }, context);
  assert.equal(started.ended, false);
  assert.deepEqual(
    started.messages.map(({ channel, text }) => [channel, text]),
    [['sms', 'm/a/e (FM) is abnormal: r']],
  );
  assert.deepEqual(
    started.tasks.map(({ title, assignee }) => [title, assignee]),
    [['Investigate', 'technician']],
  );
  assert.deepEqual(started.addedTokens.map((token) => token.waitsFor).toSorted(), ['join', 'task', 'timer']);

  const tokens = apply([], started);
  const task = tokens.find((token) => token.waitsFor === 'task');
  assert.ok(task);
  const done = resumeInstance(shipped, base, tokens, task.id, context);
  assert.equal(done.ended, true);
  assert.deepEqual(done.removedTokenIds.length, 3);
  assert.equal(done.visited.at(-1), 'End_Investigated');
});

void test('resumeInstance: a boundary timer that does not interrupt reminds, and the task stays', () => {
  const context = createContext();
  const tokens = apply([], startInstance(shipped, { ...base, classification: 'overdue' }, context));
  const timer = tokens.find((token) => token.waitsFor === 'timer');
  assert.equal(timer?.dueMs, 7 * 86_400_000);
  const reminded = resumeInstance(shipped, base, tokens, timer.id, context);
  assert.equal(reminded.ended, false);
  assert.deepEqual(reminded.cancelledTokenIds, []);
  assert.equal(reminded.messages.length, 1);
  assert.deepEqual(
    apply(tokens, reminded).map((token) => token.waitsFor),
    ['task'],
  );
});

void test('resumeInstance: a boundary timer that interrupts takes the task away', async () => {
  const definition = await parseDefinition(
    processXml(`<startEvent id="S" /><userTask id="T"><documentation>do</documentation></userTask><endEvent id="E" /><endEvent id="L" />
      <boundaryEvent id="B" attachedToRef="T"><timerEventDefinition id="d"><timeDuration>PT5M</timeDuration></timerEventDefinition></boundaryEvent>
      <sequenceFlow id="F1" sourceRef="S" targetRef="T" /><sequenceFlow id="F2" sourceRef="T" targetRef="E" /><sequenceFlow id="F3" sourceRef="B" targetRef="L" />`),
  );
  const context = createContext();
  const tokens = apply([], startInstance(definition, {}, context));
  const [task, timer] = [
    tokens.find((t) => t.waitsFor === 'task'),
    tokens.find((t) => t.waitsFor === 'timer'),
  ];
  assert.ok(task && timer);
  const late = resumeInstance(definition, {}, tokens, timer.id, context);
  assert.equal(late.ended, true);
  assert.deepEqual(late.cancelledTokenIds, [task.id]);
  assert.deepEqual(late.visited, ['B', 'F3', 'L']);
});

void test('resumeInstance: an intermediate timer waits its time and goes on', async () => {
  const definition = await parseDefinition(
    processXml(`<startEvent id="S" /><endEvent id="E" /><serviceTask id="P" plombe:operation="webhook" />
      <intermediateCatchEvent id="W"><timerEventDefinition id="d"><timeDuration>PT5M</timeDuration></timerEventDefinition></intermediateCatchEvent>
      <sequenceFlow id="F1" sourceRef="S" targetRef="W" /><sequenceFlow id="F2" sourceRef="W" targetRef="P" /><sequenceFlow id="F3" sourceRef="P" targetRef="E" />`),
  );
  const started = startInstance(definition, {}, createContext(1000));
  assert.deepEqual(started.addedTokens, [
    { id: 't1', elementId: 'W', waitsFor: 'timer', arrivedBy: null, dueMs: 301_000, hostTokenId: null },
  ]);
  const done = resumeInstance(definition, { sequence: 1 }, started.addedTokens, 't1', createContext());
  assert.deepEqual(done.messages, [
    { elementId: 'P', channel: 'webhook', recipients: 'webhook', subject: 'P', text: '{"sequence":1}' },
  ]);
  assert.equal(done.ended, true);
});

void test('startInstance: a circle without a wait, and a gateway where nothing holds, are errors that name the element', async () => {
  const circle = await parseDefinition(
    processXml(`<startEvent id="S" /><exclusiveGateway id="G" default="F3" /><exclusiveGateway id="H" /><endEvent id="E" />
      <sequenceFlow id="F1" sourceRef="S" targetRef="H" /><sequenceFlow id="F4" sourceRef="H" targetRef="G" />
      <sequenceFlow id="F2" sourceRef="G" targetRef="E"><conditionExpression>sequence &lt; 0</conditionExpression></sequenceFlow>
      <sequenceFlow id="F3" sourceRef="G" targetRef="H" />`),
  );
  assert.throws(() => startInstance(circle, { sequence: 1 }, createContext()), { code: 'process.stuck' });
  assert.throws(() => startInstance(shipped, { ...base, classification: 'odd' }, createContext()), {
    code: 'process.stuck',
    elementId: 'Gateway_Condition',
  });
});

void test('a fork of any width joins once, whatever the order in which its tasks are completed', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 2, max: 6 }).chain((width) =>
        fc.shuffledSubarray(
          Array.from({ length: width }, (_, i) => i),
          { minLength: width, maxLength: width },
        ),
      ),
      async (order) => {
        const definition = await forkOf(order.length);
        const context = createContext();
        let tokens = apply([], startInstance(definition, {}, context));
        for (const [count, branch] of order.entries()) {
          const token = tokens.find((candidate) => candidate.elementId === `T${branch}`);
          assert.ok(token);
          const step = resumeInstance(definition, {}, tokens, token.id, context);
          tokens = apply(tokens, step);
          const last = count === order.length - 1;
          assert.equal(step.ended, last);
          assert.equal(step.messages.length, last ? 1 : 0);
        }
        assert.deepEqual(tokens, []);
      },
    ),
    { numRuns: 30 },
  );
});

function forkOf(width: number): Promise<Definition> {
  const branches = Array.from(
    { length: width },
    (_, i) => `<userTask id="T${i}"><documentation>do</documentation></userTask>
      <sequenceFlow id="A${i}" sourceRef="G" targetRef="T${i}" /><sequenceFlow id="B${i}" sourceRef="T${i}" targetRef="J" />`,
  );
  return parseDefinition(
    processXml(`<startEvent id="S" /><parallelGateway id="G" /><parallelGateway id="J" /><endEvent id="E" />
      <sendTask id="M" plombe:notify="mail" plombe:recipients="list"><documentation>all done</documentation></sendTask>
      <sequenceFlow id="F1" sourceRef="S" targetRef="G" />${branches.join('')}
      <sequenceFlow id="F2" sourceRef="J" targetRef="M" /><sequenceFlow id="F3" sourceRef="M" targetRef="E" />`),
  );
}
