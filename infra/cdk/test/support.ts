/** A stack for a test, of the repository's template or of a copy with something added. */
import { App } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { load } from '../lib/config';
import { OahubStack } from '../lib/stack';

/** The repository, seen from `dist/test`. */
export const ROOT = join(__dirname, '../../../..');
export const TEMPLATE = process.env['OAHUB_TEMPLATE'] ?? join(ROOT, 'template.yaml');

process.env['CDK_VALIDATION'] = 'false'; // CDK's own validation of each template takes seconds; nag.test.ts has it on

export type Options = Record<string, unknown>;

export function stackOf(options: Options = {}, templateFile = TEMPLATE): OahubStack {
  const given: Options = { code: 'none', ...options };
  const config = load((name) => given[name]);
  const app = new App({ outdir: folder(), analyticsReporting: false });
  return new OahubStack(app, config.stackName, config, templateFile, { env: { account: config.account, region: config.region } });
}

export const synth = (options: Options = {}, templateFile = TEMPLATE): Template => Template.fromStack(stackOf(options, templateFile));

export function folder(): string {
  return mkdtempSync(join(tmpdir(), 'oahub-cdk-'));
}

/** A copy of the template with more resources, as YAML of two blanks' depth. */
export function withResources(yaml: string): string {
  const file = join(folder(), 'template.yaml');
  const text = readFileSync(TEMPLATE, 'utf8');
  const changed = text.replace(/^Resources:\n/m, `Resources:\n${yaml}\n`);
  if (changed === text) throw new Error('the template has no Resources');
  writeFileSync(file, changed);
  return file;
}

interface AlarmProperties {
  AlarmName: unknown;
  AlarmActions: unknown[];
  OKActions: unknown[];
  AlarmDescription: string;
  Namespace?: string;
  MetricName?: string;
  Dimensions?: { Name: string; Value: unknown }[];
  Metrics?: { MetricStat?: { Metric: { Namespace: string; MetricName: string; Dimensions: { Name: string; Value: unknown }[] } } }[];
  [name: string]: unknown;
}

export interface FoundAlarm { name: string; kind: string; properties: AlarmProperties }

/** The alarms of this app; `name` is the part behind the stack's. */
export function alarmsOf(template: Template): FoundAlarm[] {
  return Object.values(template.findResources('AWS::CloudWatch::Alarm'))
    .map(({ Properties: properties }) => ({ properties: properties as AlarmProperties, text: JSON.stringify(properties.AlarmName) }))
    .filter(({ text }) => /^\{"Fn::Join":\["",\[\{"Ref":"AWS::StackName"\},"-/.test(text))
    .map(({ properties, text }) => {
      const name = /,"-([A-Za-z-]+)"\]\]\}$/.exec(text)?.[1];
      if (!name) throw new Error(`an alarm's name is not understood: ${text}`);
      return { name, kind: name.split('-')[0] as string, properties };
    });
}

/** `(namespace, name, cause)` of every metric of an alarm. */
export function metricsOf({ properties }: FoundAlarm): { namespace: string; name: string; dimensions: { Name: string; Value: unknown }[] }[] {
  const single = properties.MetricName && properties.Namespace
    ? [{ namespace: properties.Namespace, name: properties.MetricName, dimensions: properties.Dimensions ?? [] }]
    : [];
  const several = (properties.Metrics ?? []).flatMap(({ MetricStat }) => MetricStat
    ? [{ namespace: MetricStat.Metric.Namespace, name: MetricStat.Metric.MetricName, dimensions: MetricStat.Metric.Dimensions }]
    : []);
  return [...single, ...several];
}
