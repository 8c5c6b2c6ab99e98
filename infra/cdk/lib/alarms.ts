/**
 * Alarms. Each kind has its section in `infra/RUNBOOK.md`: what it means, what to look at, what to do; a test compares
 * the two lists. Most ring for every function or queue that the template has. Each metric that an alarm looks at costs
 * 0.10 USD a month beyond ten: what another alarm says already gets none of its own.
 */
import { Aws, Duration } from 'aws-cdk-lib';
import { Alarm, ComparisonOperator, IMetric, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import { ofAllFunctions, ofApi, ofFunction, ofQueue, own, stuck } from './metrics';
import { Parts } from './template';

const MINUTES_5 = Duration.minutes(5);
const MINUTES_15 = Duration.minutes(15);

/** WeChat pushes a ticket every ten minutes; after two that did not come something is wrong, seconds. */
const TICKET_OLD = 20 * 60;
/** WeChat waits five seconds for an answer; the slowest in a hundred should need less than half, milliseconds. */
const CALLBACK_SLOW = 2_000;
/** A message that waited so long is late, seconds, or a quarter of what its queue keeps, if that is less. */
const QUEUE_OLD = 3_600;
/** Failures to refresh in a quarter of an hour: ten minutes of a component token that cannot be had. */
const REFRESH_FAILURES = 10;
/** Answers 5xx in five minutes. */
const API_FAILURES = 5;
/** Answers 4xx in five minutes: programs make mistakes, and are told; a flood makes thousands of 404 and 429. */
const API_REFUSALS = 1_000;
/** Refused pushes in five minutes: a wrong key refuses all of them, a scanner a few. */
const REFUSED_PUSHES = 20;
/** Wrong keys in five minutes: a program with a revoked key makes a few hundred, somebody who tries keys thousands. */
const WRONG_KEYS = 1_000;

export class Alarms extends Construct {
  readonly all: Alarm[] = [];

  /** `ownAccount`: no other function runs in this account and region, so that AWS's sums over all are this stack's. */
  constructor(scope: Construct, id: string, parts: Parts, private readonly topic: ITopic, ownAccount: boolean) {
    super(scope, id);
    // no data: the minute's tick does not run, or cannot read the table
    this.add('TicketOld', '', 'WeChat has pushed no component ticket for 20 minutes, or the tick that looks does not run',
      own('ComponentTicketAge', 'Maximum', MINUTES_5), TICKET_OLD, { missing: TreatMissingData.BREACHING });
    this.add('TokenRefreshFailing', '', 'Tokens cannot be refreshed', own('RefreshFailures', 'Sum', MINUTES_15), REFRESH_FAILURES);
    this.add('TokenRefreshLate', '', 'Accounts keep an old token five minutes after their turn',
      own('OverdueAccounts', 'Maximum', MINUTES_15), 0);
    this.add('ImportStuck', '', 'An import has neither moved nor ended for an hour', own('StuckImports', 'Maximum', MINUTES_15), 0);
    this.add('TimersStuck', '', 'Jobs that waited are due, and this release cannot hand them over', own('StuckTimers', 'Maximum', MINUTES_15), 0);
    this.add('ApiRefusing', '', 'Many requests are answered with 4xx: limits are reached, or somebody tries', ofApi(parts.api.ref, '4xx', 'Sum', MINUTES_5),
      API_REFUSALS, { of: 3, datapoints: 2 });
    this.add('PushesRefused', '', 'Callbacks are refused: wrong key, or somebody tries',
      own('RefusedPushes', 'Sum', MINUTES_5), REFUSED_PUSHES, { of: 3, datapoints: 2 });
    this.add('KeysTried', '', 'Requests come with keys that open nothing: somebody tries',
      own('AuthenticationFailures', 'Sum', MINUTES_5), WRONG_KEYS, { of: 3, datapoints: 2 });
    this.add('ApiFailing', '', 'Requests are answered with 5xx', ofApi(parts.api.ref, '5xx', 'Sum', MINUTES_5), API_FAILURES, { of: 3, datapoints: 2 });

    if (ownAccount) this.ofFunction('', 'A function', (metric) => ofAllFunctions(metric, 'Sum', MINUTES_5));
    for (const { id: name, resource, paths, queues } of parts.functions) {
      if (!ownAccount) this.ofFunction(name, name, (metric) => ofFunction(resource.ref, metric, 'Sum', MINUTES_5));
      // where a function takes jobs too, its duration says nothing about what WeChat waits for
      if (paths.some((path) => path.startsWith('/wechat/')) && queues.length === 0) {
        this.add('CallbackSlow', name, `One in a hundred callbacks takes ${name} more than two seconds; WeChat waits five`,
          ofFunction(resource.ref, 'Duration', 'p99', MINUTES_5), CALLBACK_SLOW, { of: 3, datapoints: 2, fewSamples: 'ignore' });
      }
    }
    for (const { id: name, resource } of parts.deadLetters) {
      this.add('DeadLetters', name, `${name} holds messages that were given up`,
        ofQueue(resource.attrQueueName, 'ApproximateNumberOfMessagesVisible', 'Maximum', MINUTES_5), 0);
    }
    for (const { id: name, resource, retention, fifo, lateIn } of parts.queues) {
      if (lateIn !== undefined) {
        if (!this.all.some(({ node }) => node.id === lateIn)) throw new Error(`${name}: no alarm ${lateIn} tells that it is late`);
        continue;
      }
      const old = Math.min(QUEUE_OLD, retention / 4);
      if (fifo) {
        this.add('QueueOld', name, `Messages wait in ${name} for too long`,
          ofQueue(resource.attrQueueName, 'ApproximateAgeOfOldestMessage', 'Maximum', MINUTES_5), old, { of: 3, datapoints: 3 });
        continue;
      }
      // The age of a standard queue leaves out what was received three times: just the jobs that keep failing.
      const periods = Math.max(1, Math.round(old / MINUTES_5.toSeconds()));
      this.add('QueueStuck', name, `Messages wait in ${name}, and none of them gets done`, stuck(resource.attrQueueName), 0,
        { of: periods, datapoints: periods });
    }
  }

  private ofFunction(part: string, who: string, metric: (name: string) => IMetric): void {
    const twiceIn15Minutes = { of: 3, datapoints: 2 };
    this.add('FunctionErrors', part, `${who} fails: it crashes or runs out of time`, metric('Errors'), 0, twiceIn15Minutes);
    this.add('FunctionThrottles', part, `${who} is throttled: the account's concurrency is used up`, metric('Throttles'), 0, twiceIn15Minutes);
  }

  private add(
    kind: string,
    part: string,
    text: string,
    metric: IMetric,
    threshold: number,
    how: { of?: number; datapoints?: number; missing?: TreatMissingData; fewSamples?: string } = {},
  ): void {
    const alarm = new Alarm(this, kind + part, {
      alarmName: `${Aws.STACK_NAME}-${kind}${part ? `-${part}` : ''}`,
      alarmDescription: `${text}. infra/RUNBOOK.md, ${kind}.`,
      metric,
      threshold,
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      evaluationPeriods: how.of ?? 1,
      datapointsToAlarm: how.datapoints ?? 1,
      treatMissingData: how.missing ?? TreatMissingData.NOT_BREACHING,
      evaluateLowSampleCountPercentile: how.fewSamples,
    });
    alarm.addAlarmAction(new SnsAction(this.topic));
    alarm.addOkAction(new SnsAction(this.topic));
    this.all.push(alarm);
  }
}
