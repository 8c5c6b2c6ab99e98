import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT, TEMPLATE, alarmsOf, metricsOf, synth, withResources } from './support';

const template = synth();
const alarms = alarmsOf(template);
const names = new Set(alarms.map((alarm) => alarm.name));
/** Logical ids of a type, read from the text and not by the code under test. */
const ids = (type: string) => [...readFileSync(TEMPLATE, 'utf8').matchAll(new RegExp(`^  (\\w+):\\n    Type: ${type}\\n`, 'gm'))].map((m) => m[1] as string);

test('every function of the template is heard when it fails or is throttled', () => {
  const functions = ids('AWS::Serverless::Function');
  assert.ok(functions.length >= 6, `${functions.length} functions`);
  for (const kind of ['FunctionErrors', 'FunctionThrottles']) {
    const ofAll = alarms.filter((alarm) => alarm.kind === kind);
    assert.deepEqual(ofAll.map(({ properties: p }) => [p.Namespace, p.MetricName, p.Dimensions]), [['AWS/Lambda', kind.slice('Function'.length), undefined]]);
    const shared = alarmsOf(synth({ ownAccount: 'false' })).filter((alarm) => alarm.kind === kind);
    assert.deepEqual(shared.map((alarm) => alarm.name).sort(), functions.map((id) => `${kind}-${id}`).sort(), 'beside functions of others, each has its own');
    for (const { name, properties } of shared) {
      assert.deepEqual(properties.Dimensions, [{ Name: 'FunctionName', Value: { Ref: name.slice(kind.length + 1) } }]);
    }
  }
});

test('every queue is watched, as one with work or as one with dead letters', () => {
  const text = readFileSync(TEMPLATE, 'utf8');
  const queues = ids('AWS::SQS::Queue');
  assert.ok(queues.length >= 8, `${queues.length} queues`);
  for (const id of queues) {
    const lateIn = new RegExp(`^  ${id}:\\n    Type: AWS::SQS::Queue\\n    Metadata: \\{ LateIn: (\\w+) \\}`, 'm').exec(text)?.[1];
    const fifo = new RegExp(`^  ${id}:\\n(?:    .*\\n)*?      FifoQueue: true`, 'm').test(text);
    const alarm = lateIn ?? `${id.endsWith('DeadLetters') ? 'DeadLetters' : fifo ? 'QueueOld' : 'QueueStuck'}-${id}`;
    assert.ok(names.has(alarm), `${id} has no ${alarm}`);
  }
  const file = withResources(`
  Work:
    Type: AWS::SQS::Queue
    Metadata: { LateIn: NoSuchAlarm }
  Worker:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/worker
      Events:
        Jobs: { Type: SQS, Properties: { Queue: !GetAtt Work.Arn } }`);
  assert.throws(() => synth({}, file), /Work: no alarm NoSuchAlarm/);
});

test('alarms cost what infra/COST.md says', () => {
  const cost = readFileSync(join(ROOT, 'infra/COST.md'), 'utf8');
  const looked = alarms.reduce((sum, alarm) => sum + metricsOf(alarm).length, 0);
  const own = ids('AWS::CloudWatch::Alarm').length;
  const row = /^\| alarms \| (\d+) metrics, of which 10 are free \| ([\d.]+) \|$/m.exec(cost);
  assert.deepEqual([row?.[1], row?.[2]], [String(looked + own), ((looked + own - 10) * 0.1).toFixed(2)]);
});

test('a function and a queue that are added get their alarms by themselves', () => {
  const file = withResources(`
  Added:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/added
      Events:
        Push: { Type: HttpApi, Properties: { ApiId: !Ref HttpApi, Method: POST, Path: /wechat/added } }
  Worker:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/worker
      Events:
        Jobs: { Type: SQS, Properties: { Queue: !GetAtt Work.Arn } }
        More: { Type: SQS, Properties: { Queue: !GetAtt Ordered.Arn } }
  Ordered:
    Type: AWS::SQS::Queue
    Properties: { FifoQueue: true, MessageRetentionPeriod: 600 }
  Work:
    Type: AWS::SQS::Queue
    Properties: { MessageRetentionPeriod: 2400, RedrivePolicy: { deadLetterTargetArn: !GetAtt Lost.Arn, maxReceiveCount: 3 } }
  Lost:
    Type: AWS::SQS::Queue`);
  const found = alarmsOf(synth({ ownAccount: false }, file));
  const before = new Set(alarmsOf(synth({ ownAccount: false })).map((alarm) => alarm.name));
  const added = new Map(found.filter((alarm) => !before.has(alarm.name)).map((alarm) => [alarm.name, alarm.properties]));
  assert.deepEqual([...added.keys()].sort(), [
    'CallbackSlow-Added', 'DeadLetters-Lost', 'FunctionErrors-Added', 'FunctionErrors-Worker', 'FunctionThrottles-Added',
    'FunctionThrottles-Worker', 'QueueOld-Ordered', 'QueueStuck-Work',
  ]);
  assert.equal(added.get('QueueOld-Ordered')?.['Threshold'], 150, 'a quarter of what the queue keeps');
  assert.equal(added.get('QueueStuck-Work')?.['EvaluationPeriods'], 2, 'ten minutes: a quarter of what the queue keeps');
  assert.deepEqual(added.get('FunctionErrors-Added')?.Dimensions, [{ Name: 'FunctionName', Value: { Ref: 'Added' } }]);
  assert.deepEqual(added.get('QueueOld-Ordered')?.Dimensions, [{ Name: 'QueueName', Value: { 'Fn::GetAtt': ['Ordered', 'QueueName'] } }]);
});

test('no alarm looks at the age of a standard queue with dead letters, which leaves out the jobs that keep failing', () => {
  const queues = template.findResources('AWS::SQS::Queue');
  let looked = 0;
  for (const alarm of alarms) {
    for (const { name, dimensions } of metricsOf(alarm)) {
      if (name !== 'ApproximateAgeOfOldestMessage') continue;
      const [id] = (dimensions[0]?.Value as { 'Fn::GetAtt': string[] })['Fn::GetAtt'];
      const { FifoQueue: fifo, RedrivePolicy: redrive } = queues[id as string]?.Properties ?? {};
      assert.ok(fifo === true || redrive === undefined, `${alarm.name} on ${id}`);
      looked += 1;
    }
  }
  assert.ok(looked > 0, 'no alarm on an age at all');
});

test('alarms ring where the issue says', () => {
  const of = (name: string) => {
    const alarm = alarms.find((a) => a.name === name);
    assert.ok(alarm, name);
    return alarm.properties;
  };
  const ticket = of('TicketOld');
  assert.deepEqual([ticket['Threshold'], ticket['Period'], ticket['TreatMissingData']], [1200, 300, 'breaching']);
  const slow = of('CallbackSlow-MessageCallback');
  assert.deepEqual([slow['Threshold'], slow['ExtendedStatistic']], [2000, 'p99']);
  assert.deepEqual([of('DeadLetters-SendDeadLetters')['Threshold'], of('DeadLetters-SendDeadLetters')['TreatMissingData']], [0, 'notBreaching']);
  assert.equal(of('QueueOld-SendQueue')['Threshold'], 3600);
  const stuck = of('QueueStuck-AuthorizationQueue');
  assert.deepEqual([stuck['EvaluationPeriods'], stuck['DatapointsToAlarm'], stuck['Threshold']], [12, 12, 0], 'an hour without one job done');
  for (const name of ['ApiRefusing', 'TokenRefreshFailing', 'TokenRefreshLate', 'ImportStuck', 'TimersStuck', 'PushesRefused', 'KeysTried', 'ApiFailing']) of(name);
});

test('every alarm tells its topic when it begins and when it ends', () => {
  const [topic] = Object.keys(template.findResources('AWS::SNS::Topic'));
  for (const { name, properties } of alarms) {
    assert.deepEqual(properties.AlarmActions, [{ Ref: topic }], name);
    assert.deepEqual(properties.OKActions, [{ Ref: topic }], name);
  }
});

test('an alarm of the template itself tells the topic too, beside what it does', () => {
  const file = withResources(`
  Own:
    Type: AWS::CloudWatch::Alarm
    Properties: { Namespace: AWS/EC2, MetricName: StatusCheckFailed, EvaluationPeriods: 1, ComparisonOperator: GreaterThanThreshold, AlarmActions: [arn] }`);
  const made = synth({}, file);
  const [topic] = Object.keys(made.findResources('AWS::SNS::Topic'));
  made.hasResourceProperties('AWS::CloudWatch::Alarm', { MetricName: 'StatusCheckFailed', AlarmActions: ['arn', { Ref: topic }] });
});

test("an alarm on a metric of the hub's own names one that the hub writes, with its dimensions", () => {
  const rust = readFileSync(join(ROOT, 'shared/src/metrics.rs'), 'utf8');
  const constant = (name: string) => new RegExp(`pub const ${name}: &str = "(\\w+)"`).exec(rust)?.[1];
  const listed = new Map([...rust.matchAll(/Self::(\w+)(\(_\))? => "\w+",/g)].map((m) => [m[1] as string, m[2] !== undefined]));
  const causes = [...rust.matchAll(/Self::\w+ => "([a-z]+)",/g)].map((m) => m[1]);
  assert.ok(listed.size >= 7 && causes.length === 3, 'shared/src/metrics.rs is written otherwise than this test reads it');
  const own = [...alarms.flatMap((alarm) => metricsOf(alarm)), ...dashboardMetrics()].filter((m) => m.namespace === constant('NAMESPACE'));
  assert.ok(own.length >= 12, `${own.length} uses`);
  for (const { name, dimensions } of own) {
    assert.ok(listed.has(name), `nobody writes ${name}`);
    const expected = [constant('STACK_DIMENSION'), ...(listed.get(name) ? [constant('CAUSE_DIMENSION')] : [])].sort();
    assert.deepEqual(dimensions.map((d) => d.Name).sort(), expected, name);
    const cause = dimensions.find((d) => d.Name === constant('CAUSE_DIMENSION'));
    if (cause) assert.ok(causes.includes(cause.Value as string), `${name} has no cause ${String(cause.Value)}`);
  }
  const shown = new Set(own.map((m) => m.name));
  for (const name of listed.keys()) {
    if (/^[A-Z]/.test(name) && listed.get(name) !== undefined && !['Account', 'WeChat', 'Hub'].includes(name)) {
      assert.ok(shown.has(name), `${name} costs 0.30 USD a month and nobody looks at it`);
    }
  }
});

/** The dashboard's metrics. */
function dashboardMetrics(): { namespace: string; name: string; dimensions: { Name: string; Value: unknown }[] }[] {
  const [board] = Object.values(template.findResources('AWS::CloudWatch::Dashboard'));
  const body = board?.Properties.DashboardBody['Fn::Join'][1].map((part: unknown) => (typeof part === 'string' ? part : 'X')).join('') as string;
  const widgets = (JSON.parse(body) as { widgets: { properties: { metrics?: unknown[][] } }[] }).widgets;
  return widgets.flatMap((w) => w.properties.metrics ?? []).map((metric) => {
    const words = metric.filter((word): word is string => typeof word === 'string');
    const [namespace = '', name = '', ...rest] = words;
    const dimensions = rest.flatMap((word, n) => (n % 2 === 0 ? [{ Name: word, Value: rest[n + 1] }] : []));
    return { namespace, name, dimensions };
  });
}

test('the dashboard has few enough metrics to be free', () => {
  const count = dashboardMetrics().length;
  assert.ok(count > 30 && count <= 50, `${count} metrics: above 50 a dashboard costs 3 USD a month`);
  const cost = readFileSync(join(ROOT, 'infra/COST.md'), 'utf8');
  assert.equal(/^\| dashboard \| (\d+) metrics \|/m.exec(cost)?.[1], String(count), 'infra/COST.md');
});

test('the runbook has a section for each alarm and no other', () => {
  const runbook = readFileSync(join(ROOT, 'infra/RUNBOOK.md'), 'utf8');
  const [, chapter = ''] = runbook.split(/^## Alarms$/m);
  const sections = [...(chapter.split(/^## /m)[0] ?? '').matchAll(/^### (\w+)$/gm)].map((m) => m[1]);
  const included = Object.keys(template.findResources('AWS::CloudWatch::Alarm')).filter((id) => ids('AWS::CloudWatch::Alarm').includes(id));
  const kinds = new Set([...alarms.map((alarm) => alarm.kind), ...included]);
  assert.deepEqual([...sections].sort(), [...kinds].sort());
});
