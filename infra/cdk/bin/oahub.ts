#!/usr/bin/env node
import { App, Validations } from 'aws-cdk-lib';
import { join } from 'node:path';
import { AwsSolutionsChecks } from 'cdk-nag';
import { load, source } from '../lib/config';
import { EdgeStack } from '../lib/front';
import { acknowledge } from '../lib/nag';
import { OahubStack } from '../lib/stack';

const TEMPLATE = join(__dirname, '../../../../template.yaml');

const app = new App();
try {
  const config = load(source((name) => app.node.tryGetContext(name)));
  const { stackName, account, region, front } = config;
  if (front && region !== 'us-east-1') {
    const edge = new EdgeStack(app, `${stackName}-edge`, front, { env: { account, region: 'us-east-1' } });
    acknowledge(edge);
  }
  if (!front || region === 'us-east-1' || front.webAclArn) {
    const stack = new OahubStack(app, stackName, config, TEMPLATE, { env: { account, region } });
    acknowledge(stack);
  } else {
    process.stderr.write(`Deploy ${stackName}-edge first, then give its output WebAclArn as frontWebAclArn to deploy ${stackName}.\n`);
  }
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1); // without the synthesis that would follow
}
