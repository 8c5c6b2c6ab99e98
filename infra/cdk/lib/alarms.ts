/**
 * Alarms. Each kind has its section in `infra/RUNBOOK.md`: what it means, what to look at, what to do; a test compares
 * the two lists. Most ring for every function or queue that the template has.
 */
import { Aws, Duration } from 'aws-cdk-lib';
import { Alarm, ComparisonOperator, IMetric, MathExpression, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import { ofApi, ofFunction, ofQueue, own } from './metrics';
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
/** Refused pushes in five minutes: a wrong key refuses all of them, a scanner a few. */
const REFUSED_PUSHES = 20;

export class Alarms extends Construct {
  readonly all: Alarm[] = [];

  constructor(scope: Construct, id: string, parts: Parts, private readonly topic: ITopic) {
    super(scope, id);
    // no data: the minute's tick does not run, or cannot read the table
    this.add('TicketOld', '', 'WeChat has pushed no component ticket for 20 minutes, or the tick that looks does not run',
      own('ComponentTicketAge', 'Maximum', MINUTES_5), TICKET_OLD, { missing: TreatMissingData.BREACHING });
    this.add('TokenRefreshFailing', '', 'Tokens cannot be refreshed',
      new MathExpression({
        expression: 'FILL(wechat, 0) + FILL(hub, 0)',
        usingMetrics: {
          wechat: own('RefreshFailures', 'Sum', MINUTES_15, 'wechat'),
          hub: own('RefreshFailures', 'Sum', MINUTES_15, 'hub'),
        },
        label: 'failures',
        period: MINUTES_15,
      }), REFRESH_FAILURES);
    this.add('TokenRefreshLate', '', 'Accounts keep an old token five minutes after their turn',
      own('OverdueAccounts', 'Maximum', MINUTES_15), 0);
    this.add('ImportStuck', '', 'An import has neither moved nor ended for an hour', own('StuckImports', 'Maximum', MINUTES_15), 0);
    this.add('PushesRefused', '', 'Callbacks are refused: wrong key, or somebody tries',
      own('RefusedPushes', 'Sum', MINUTES_5), REFUSED_PUSHES, { of: 3, datapoints: 2 });
    this.add('ApiFailing', '', 'Requests are answered with 5xx', ofApi(parts.api.ref, '5xx', 'Sum', MINUTES_5), API_FAILURES, { of: 3, datapoints: 2 });

    for (const { id: name, resource, paths, queues } of parts.functions) {
      this.add('FunctionErrors', name, `${name} fails: it crashes or runs out of time`,
        ofFunction(resource.ref, 'Errors', 'Sum', MINUTES_5), 0, { of: 3, datapoints: 2 });
      this.add('FunctionThrottles', name, `${name} is throttled: the account's concurrency is used up`,
        ofFunction(resource.ref, 'Throttles', 'Sum', MINUTES_5), 0, { of: 3, datapoints: 2 });
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
    for (const { id: name, resource, retention } of parts.queues) {
      this.add('QueueOld', name, `Messages wait in ${name} for too long`,
        ofQueue(resource.attrQueueName, 'ApproximateAgeOfOldestMessage', 'Maximum', MINUTES_5), Math.min(QUEUE_OLD, retention / 4), { of: 3, datapoints: 3 });
    }
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
