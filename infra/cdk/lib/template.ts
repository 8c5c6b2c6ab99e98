/** What is in template.yaml, found by type: a function or queue that is added there is found here. */
import { CfnResource, Stack, Token } from 'aws-cdk-lib';
import { CfnFunction, CfnHttpApi } from 'aws-cdk-lib/aws-sam';
import { CfnQueue } from 'aws-cdk-lib/aws-sqs';
import { CfnTable } from 'aws-cdk-lib/aws-dynamodb';
import { CfnAlarm } from 'aws-cdk-lib/aws-cloudwatch';
import { CfnInclude } from 'aws-cdk-lib/cloudformation-include';

export interface FunctionPart {
  readonly id: string;
  readonly resource: CfnFunction;
  /** Paths of its HTTP events. */
  readonly paths: string[];
  /** Logical ids of the queues whose messages it takes. */
  readonly queues: string[];
  /** Where it logs: a name, or a reference to the log group. */
  readonly logGroup: string;
}

export interface QueuePart {
  readonly id: string;
  readonly resource: CfnQueue;
  /** How long it keeps a message, seconds. */
  readonly retention: number;
  /** Whether it keeps the order of its messages. */
  readonly fifo: boolean;
  /** The alarm that tells when its messages wait for too long, where the hub itself looks after what they are about. */
  readonly lateIn?: string;
}

/** The template's parts. */
export interface Parts {
  readonly functions: FunctionPart[];
  /** Queues that a function takes messages from. */
  readonly queues: QueuePart[];
  /** Queues that nobody takes messages from: what is in one waits for an operator. */
  readonly deadLetters: QueuePart[];
  readonly tables: { id: string; resource: CfnTable }[];
  readonly api: CfnHttpApi;
  /** Alarms that the template makes itself. */
  readonly alarms: { id: string; resource: CfnAlarm }[];
}

/** SQS's own: four days. */
const DEFAULT_RETENTION = 345_600;

interface SamEvent { Type?: string; Properties?: { Path?: string; Queue?: unknown } }

export function parts(template: CfnInclude): Parts {
  const stack = Stack.of(template);
  const all = template.node.findAll().filter((c): c is CfnResource => CfnResource.isCfnResource(c));
  const of = <T extends CfnResource>(type: new (...args: never[]) => T) =>
    all.filter((r): r is T => r instanceof type).map((resource) => ({ id: stack.resolve(resource.logicalId) as string, resource }));
  const functions = of(CfnFunction).map(({ id, resource }) => {
    const properties = rendered(stack, resource);
    const events = Object.values((properties['Events'] ?? {}) as Record<string, SamEvent>);
    const logging = properties['LoggingConfig'] as { LogGroup?: unknown } | undefined;
    return {
      id,
      resource,
      paths: events.filter((e) => e.Type === 'HttpApi').map((e) => e.Properties?.Path ?? ''),
      queues: events.filter((e) => e.Type === 'SQS').map((e) => logicalId(e.Properties?.Queue)),
      logGroup: logging?.LogGroup ? Token.asString(logging.LogGroup) : `/aws/lambda/${resource.ref}`,
    };
  });
  const taken = new Set(functions.flatMap((f) => f.queues));
  const queues = of(CfnQueue).map((queue) => ({
    ...queue,
    retention: Number(rendered(stack, queue.resource)['MessageRetentionPeriod'] ?? DEFAULT_RETENTION),
    fifo: rendered(stack, queue.resource)['FifoQueue'] === true,
    lateIn: queue.resource.cfnOptions.metadata?.['LateIn'] as string | undefined,
  }));
  const [api, ...more] = of(CfnHttpApi);
  if (!api || more.length > 0) throw new Error(`the template has ${more.length + (api ? 1 : 0)} HTTP APIs; one was expected`);
  return {
    functions,
    queues: queues.filter((q) => taken.has(q.id)),
    deadLetters: queues.filter((q) => !taken.has(q.id)),
    tables: of(CfnTable),
    api: api.resource,
    alarms: of(CfnAlarm),
  };
}

/** A resource's properties as the synthesised template has them. */
function rendered(stack: Stack, resource: CfnResource): Record<string, unknown> {
  const made = stack.resolve((resource as unknown as { _toCloudFormation(): unknown })._toCloudFormation());
  const [found] = Object.values(made.Resources) as { Properties?: Record<string, unknown> }[];
  return found?.Properties ?? {};
}

/** Of `{"Fn::GetAtt": ["Queue", "Arn"]}`. */
function logicalId(reference: unknown): string {
  const attribute = (reference as { 'Fn::GetAtt'?: string[] | string } | undefined)?.['Fn::GetAtt'];
  const id = Array.isArray(attribute) ? attribute[0] : attribute?.split('.')[0];
  if (!id) throw new Error(`a queue is named otherwise than by !GetAtt X.Arn: ${JSON.stringify(reference)}`);
  return id;
}

/** The folder of a function's program: its binary's name, as cargo-lambda names it. */
export function program({ id, resource }: FunctionPart): string {
  const binary = resource.cfnOptions.metadata?.['BuildProperties']?.['Binary'];
  if (typeof binary === 'string') return binary;
  const uri = resource.codeUri;
  if (typeof uri !== 'string') throw new Error(`${id} has no CodeUri and no Metadata.BuildProperties.Binary`);
  return `bootstrap-${uri.replace(/\/$/, '').split('/').pop()}`;
}
