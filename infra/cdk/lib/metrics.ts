/** Metrics: the hub's own, whose list is `shared/src/metrics.rs` (a test compares), and AWS's of a function or queue. */
import { Aws, Duration } from 'aws-cdk-lib';
import { MathExpression, Metric } from 'aws-cdk-lib/aws-cloudwatch';

export const NAMESPACE = 'oahub';
export type Cause = 'account' | 'wechat' | 'hub';
export type OwnMetric =
  | 'ComponentTicketAge' | 'OverdueAccounts' | 'RefreshFailures' | 'StuckImports' | 'HaltedImports' | 'FailedMessages' | 'RefusedPushes'
  | 'AuthenticationFailures' | 'UnboundPushes' | 'StuckTimers';

/** One of the hub's own. */
export function own(metricName: OwnMetric, statistic: string, period: Duration, cause?: Cause): Metric {
  const dimensionsMap: Record<string, string> = { Stack: Aws.STACK_NAME };
  if (cause) dimensionsMap['Cause'] = cause;
  return new Metric({ namespace: NAMESPACE, metricName, statistic, period, dimensionsMap, label: cause });
}

export function ofFunction(name: string, metricName: string, statistic: string, period: Duration, label?: string): Metric {
  return new Metric({ namespace: 'AWS/Lambda', metricName, statistic, period, dimensionsMap: { FunctionName: name }, label });
}

/** Of all functions of the account and region together, whatever stack they are of. */
export function ofAllFunctions(metricName: string, statistic: string, period: Duration): Metric {
  return new Metric({ namespace: 'AWS/Lambda', metricName, statistic, period });
}

export function ofQueue(name: string, metricName: string, statistic: string, period: Duration, label?: string): Metric {
  return new Metric({ namespace: 'AWS/SQS', metricName, statistic, period, dimensionsMap: { QueueName: name }, label });
}

/** 1 where a queue has messages and none was done with, else 0. */
export function stuck(queue: string): MathExpression {
  const period = Duration.minutes(5);
  return new MathExpression({
    label: 'stuck',
    period,
    expression: 'IF(FILL(waiting, 0) + FILL(taken, 0) > 0 AND FILL(done, 0) == 0, 1, 0)',
    usingMetrics: {
      waiting: ofQueue(queue, 'ApproximateNumberOfMessagesVisible', 'Maximum', period),
      taken: ofQueue(queue, 'ApproximateNumberOfMessagesNotVisible', 'Maximum', period),
      done: ofQueue(queue, 'NumberOfMessagesDeleted', 'Sum', period),
    },
  });
}

export function ofApi(id: string, metricName: string, statistic: string, period: Duration, label?: string): Metric {
  return new Metric({ namespace: 'AWS/ApiGateway', metricName, statistic, period, dimensionsMap: { ApiId: id }, label });
}

export function ofTable(name: string, metricName: string, period: Duration, label?: string): Metric {
  return new Metric({ namespace: 'AWS/DynamoDB', metricName, statistic: 'Sum', period, dimensionsMap: { TableName: name }, label });
}
