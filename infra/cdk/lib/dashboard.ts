/**
 * What an operator wants to see at a glance: is anything wrong, then the way of a push, of a token, of a job. At most 50
 * metrics, with which a dashboard is among the three that are free.
 */
import { Aws, Duration } from 'aws-cdk-lib';
import {
  Alarm, AlarmStatusWidget, Dashboard, GraphWidget, IMetric, IWidget, LogQueryWidget, SingleValueWidget, TextWidget,
} from 'aws-cdk-lib/aws-cloudwatch';
import { Construct } from 'constructs';
import { ofAllFunctions, ofApi, ofFunction, ofQueue, ofTable, own } from './metrics';
import { Parts } from './template';

const MINUTE = Duration.minutes(1);
const MINUTES_5 = Duration.minutes(5);
const WIDTH = 24;

export function dashboard(scope: Construct, parts: Parts, alarms: Alarm[]): Dashboard {
  const board = new Dashboard(scope, 'Dashboard', { dashboardName: Aws.STACK_NAME, defaultInterval: Duration.hours(12) });
  const graph = (title: string, left: IMetric[], width: number, right?: IMetric[], leftLabel?: string, rightLabel?: string): IWidget =>
    new GraphWidget({
      title, left, right, width, height: 6, region: Aws.REGION, liveData: true,
      leftYAxis: { min: 0, label: leftLabel, showUnits: false },
      rightYAxis: right && { min: 0, label: rightLabel, showUnits: false },
    });
  const { functions, queues, deadLetters, tables, api } = parts;
  const callbacks = functions.filter((f) => f.paths.some((path) => path.startsWith('/wechat/')));

  board.addWidgets(new TextWidget({
    width: WIDTH, height: 1,
    markdown: 'What an alarm means and what to do: `infra/RUNBOOK.md`. What a tenant sees: `GET /v1/platform`.',
  }));
  if (alarms.length > 0) {
    board.addWidgets(new AlarmStatusWidget({ title: 'Alarms', alarms, width: WIDTH, height: 4 }));
  }
  board.addWidgets(
    new SingleValueWidget({
      title: 'Component ticket, seconds old (WeChat sends one every 600)', width: 6, height: 6, region: Aws.REGION, sparkline: true,
      metrics: [own('ComponentTicketAge', 'Maximum', MINUTE)],
    }),
    graph('Token refreshes that failed', [own('RefreshFailures', 'Sum', MINUTES_5)], 6),
    graph('Accounts past their turn', [own('OverdueAccounts', 'Maximum', MINUTE)], 6),
    graph('Imports, and timers that nobody can hand over', [own('HaltedImports', 'Sum', MINUTES_5),
      own('StuckImports', 'Maximum', Duration.minutes(10)), own('StuckTimers', 'Maximum', MINUTES_5)], 6),
  );
  board.addWidgets(
    graph('Callbacks: slowest in a hundred, milliseconds (WeChat waits 5,000)',
      callbacks.map((f) => ofFunction(f.resource.ref, 'Duration', 'p99', MINUTES_5, f.id)), 12),
    graph('HTTP API: answers, refused pushes, and those of accounts that are not bound',
      [...['Count', '4xx', '5xx'].map((name) => ofApi(api.ref, name, 'Sum', MINUTES_5, name)),
        own('RefusedPushes', 'Sum', MINUTES_5), own('UnboundPushes', 'Sum', MINUTES_5)], 12),
  );
  board.addWidgets(
    graph('Messages that failed, by who can mend it',
      (['account', 'wechat', 'hub'] as const).map((cause) => own('FailedMessages', 'Sum', MINUTES_5, cause)), 8),
    // of a standard queue the oldest leaves out what was received three times
    graph('Queues: waiting (left), oldest of those in order in seconds (right)',
      queues.map((q) => ofQueue(q.resource.attrQueueName, 'ApproximateNumberOfMessagesVisible', 'Maximum', MINUTES_5, q.id)), 8,
      queues.filter((q) => q.fifo).map((q) => ofQueue(q.resource.attrQueueName, 'ApproximateAgeOfOldestMessage', 'Maximum', MINUTES_5, `${q.id}, oldest`))),
    graph('Dead letters', deadLetters.map((q) => ofQueue(q.resource.attrQueueName, 'ApproximateNumberOfMessagesVisible', 'Maximum', MINUTES_5, q.id)), 8),
  );
  board.addWidgets(
    graph('Functions: errors', functions.map((f) => ofFunction(f.resource.ref, 'Errors', 'Sum', MINUTES_5, f.id)), 8),
    graph('Functions of the whole account: at work at once (1,000 are allowed unless raised)',
      [ofAllFunctions('ConcurrentExecutions', 'Maximum', MINUTES_5)], 8),
    graph('Tables: write units (left), throttled (right)',
      tables.map((t) => ofTable(t.resource.ref, 'ConsumedWriteCapacityUnits', MINUTES_5, t.id)), 8,
      tables.map((t) => ofTable(t.resource.ref, 'WriteThrottleEvents', MINUTES_5, `${t.id} throttled`))),
  );
  board.addWidgets(new LogQueryWidget({
    title: 'Errors and warnings', width: WIDTH, height: 8, region: Aws.REGION, logGroupNames: functions.map((f) => f.logGroup),
    queryLines: ['fields @timestamp, level, message, app_id', 'filter level in ["ERROR", "WARN"]', 'sort @timestamp desc', 'limit 50'],
  }));
  return board;
}
