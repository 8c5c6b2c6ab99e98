import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { App, Stack, Validations } from 'aws-cdk-lib';
import { AwsSolutionsChecks } from 'cdk-nag';
import { EXCEPTIONS, acknowledge } from '../lib/nag';
import { stackOf } from './support';

process.env['CDK_VALIDATION'] = 'true';

interface Violation { ruleName: string; severity: string; violatingConstructs: { constructPath: string }[]; acknowledgedId?: string; acknowledgedAt?: string }
interface Report { pluginReports: { pluginName: string; violations: Violation[]; suppressedViolations?: Violation[] }[] }

/** Every option on, so that every resource is looked at. */
const ALL = {
  account: '123456789012', region: 'us-east-1', email: 'ops@example.com', budget: 85, front: true,
  domainName: 'hub.example.com', domainCertificateArn: 'arn:aws:acm:us-east-1:123456789012:certificate/a',
};

function report(stack: Stack): Report {
  const app = stack.node.root as App;
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
  let failed: unknown;
  try {
    app.synth();
  } catch (error) {
    failed = error; // the report tells more
  }
  try {
    return JSON.parse(readFileSync(join(app.outdir, 'validation-report.json'), 'utf8')) as Report;
  } catch {
    throw failed;
  }
}

test('the stack keeps the AwsSolutions rules, but for exceptions that are needed and have a reason', () => {
  const stack = stackOf(ALL);
  acknowledge(stack);
  const { pluginReports } = report(stack);
  const rules = pluginReports.find((plugin) => plugin.pluginName === 'AwsSolutions');
  assert.ok(rules, 'the rules were not run');
  const broken = pluginReports.flatMap((plugin) => plugin.violations)
    .filter((v) => v.severity === 'error' || v.ruleName.startsWith('AwsSolutions'))
    .map((v) => `${v.ruleName} ${v.violatingConstructs.map((c) => c.constructPath).join(' ')}`);
  assert.deepEqual(broken, []);
  const used = pluginReports.flatMap((plugin) => plugin.suppressedViolations ?? []);
  for (const { rule, of, reason } of EXCEPTIONS) {
    assert.ok(reason.length > 20, `${rule} has no reason`);
    const suppressed = used.filter((v) => v.acknowledgedId === rule).map((v) => v.acknowledgedAt ?? '');
    const here = stack.node.findAll().map((c) => c.node.path).filter((path) => of.test(path.slice(stack.node.path.length + 1)));
    assert.ok(here.length > 0, `${rule} is excepted for ${of}, which nothing is called any more`);
    for (const path of here) assert.ok(suppressed.includes(path), `${rule} is excepted for ${path}, which keeps it`);
  }
});
