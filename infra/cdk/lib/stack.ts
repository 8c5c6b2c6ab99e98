/** template.yaml, which stays the one list of what is deployed, and around it what an operator chose. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Annotations, CfnOutput, Stack, StackProps } from 'aws-cdk-lib';
import { Alarm } from 'aws-cdk-lib/aws-cloudwatch';
import { CfnInclude } from 'aws-cdk-lib/cloudformation-include';
import { Asset } from 'aws-cdk-lib/aws-s3-assets';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { EmailSubscription } from 'aws-cdk-lib/aws-sns-subscriptions';
import { ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Construct } from 'constructs';
import { Alarms } from './alarms';
import { budget } from './budget';
import { Config, ConfigError } from './config';
import { dashboard } from './dashboard';
import { front } from './front';
import { values } from './parameters';
import { tlsOnly } from './queues';
import { Parts, parts, program } from './template';

export class OahubStack extends Stack {
  readonly template: CfnInclude;
  readonly parts: Parts;

  /** `templateFile` is the repository's, or a test's copy. */
  constructor(scope: Construct, id: string, config: Config, templateFile: string, props: StackProps) {
    super(scope, id, props);
    // without a front, the template puts the domain on its API itself
    const domain: Record<string, string> = config.domain && !config.front
      ? { DomainName: config.domain.name, DomainCertificateArn: config.domain.certificateArn }
      : {};
    this.template = new CfnInclude(this, 'Template', { templateFile, parameters: values({ ...config.parameters, ...domain }, templateFile) });
    this.parts = parts(this.template);
    this.code(config.code);
    tlsOnly(this, this.parts);

    const alarms: Alarm[] = config.alarms ? this.alarms(config) : [];
    if (config.dashboard) dashboard(this, this.parts, alarms);
    if (config.domain && config.front) front(this, config.domain, config.front, this.parts);
    if (config.parameters['Concurrency'] === undefined) {
      Annotations.of(this).addWarningV2('oahub:concurrency',
        'parameter Concurrency is not given, so the account has to allow Lambda 1,000 invocations at once, of which 590 are reserved. '
        + 'A new account may have 10: see `aws lambda get-account-settings`, and infra/RUNBOOK.md, step 1.');
    } else if (config.parameters['Concurrency'] === 'small') {
      Annotations.of(this).addWarningV2('oahub:concurrency',
        'parameter Concurrency is small: nothing is reserved for pushes, and jobs alone may take 12 at once, so that a flood of requests or a large import makes WeChat give pushes up. '
        + 'Have the quota raised before real accounts are bound: infra/RUNBOOK.md, step 1.');
    }
    if (config.budget && config.email) budget(this, config.budget, config.email);
  }

  /** Uploads what cargo-lambda built in place of the sources that SAM would build. */
  private code(folder: string): void {
    if (folder === 'none') return;
    const missing: string[] = [];
    for (const part of this.parts.functions) {
      const path = resolve(folder, program(part));
      if (!existsSync(join(path, 'bootstrap'))) {
        missing.push(join(path, 'bootstrap'));
        continue;
      }
      const asset = new Asset(this, `Code${part.id}`, { path });
      part.resource.codeUri = { bucket: asset.s3BucketName, key: asset.s3ObjectKey };
    }
    if (missing.length > 0) {
      throw new ConfigError('code', `these are missing: ${missing.join(', ')}`,
        'the folder that `cargo lambda build --release --arm64`, started in functions, writes (target/lambda), or `none` to synthesise without code');
    }
  }

  private alarms({ email, ownAccount }: Config): Alarm[] {
    const topic = new Topic(this, 'Alerts', { enforceSSL: true });
    topic.grantPublish(new ServicePrincipal('cloudwatch.amazonaws.com'));
    if (email) topic.addSubscription(new EmailSubscription(email));
    const alarms = new Alarms(this, 'Alarms', this.parts, topic, ownAccount).all;
    for (const { resource } of this.parts.alarms) resource.alarmActions = [...(resource.alarmActions ?? []), topic.topicArn];
    new CfnOutput(this, 'AlertsTopic', { description: 'Alarms are told here', value: topic.topicArn });
    return alarms;
  }
}
