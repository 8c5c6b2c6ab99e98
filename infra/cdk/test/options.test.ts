import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Annotations, Match } from 'aws-cdk-lib/assertions';
import { load, source } from '../lib/config';
import { program } from '../lib/template';
import { Options, ROOT, alarmsOf, folder, stackOf, synth } from './support';

const CERTIFICATE = 'arn:aws:acm:eu-central-1:123456789012:certificate/a';
const EDGE_CERTIFICATE = 'arn:aws:acm:us-east-1:123456789012:certificate/a';
const ACL = 'arn:aws:wafv2:us-east-1:123456789012:global/webacl/oahub/1';
/** A domain on CloudFront. */
const ON_EDGE = { domainName: 'hub.example.com', domainCertificateArn: EDGE_CERTIFICATE };
const HERE = { account: '123456789012', region: 'eu-central-1' };

test('alarms and the dashboard are there unless they are switched off; the rest only where it is chosen', () => {
  const usual = synth();
  usual.resourceCountIs('AWS::CloudWatch::Dashboard', 1);
  usual.resourceCountIs('AWS::SNS::Subscription', 0);
  for (const type of ['AWS::Budgets::Budget', 'AWS::CloudFront::Distribution', 'AWS::WAFv2::WebACL']) {
    usual.resourceCountIs(type, 0);
  }
  const bare = synth({ alarms: 'false', dashboard: false });
  assert.equal(alarmsOf(bare).length, 0);
  bare.resourceCountIs('AWS::SNS::Topic', 0);
  bare.resourceCountIs('AWS::CloudWatch::Dashboard', 0);
});

test('an e-mail address hears of alarms and of the budget', () => {
  const template = synth({ email: 'ops@example.com', budget: '85' });
  template.hasResourceProperties('AWS::SNS::Subscription', { Protocol: 'email', Endpoint: 'ops@example.com' });
  template.hasResourceProperties('AWS::Budgets::Budget', {
    Budget: { BudgetLimit: { Amount: 85, Unit: 'USD' }, TimeUnit: 'MONTHLY' },
    NotificationsWithSubscribers: Match.arrayWith([Match.objectLike({ Subscribers: [{ Address: 'ops@example.com', SubscriptionType: 'EMAIL' }] })]),
  });
  synth({ email: 'ops@example.com', budget: 600, region: 'cn-north-1' }).hasResourceProperties('AWS::Budgets::Budget', {
    Budget: { BudgetLimit: { Amount: 600, Unit: 'CNY' } },
  });
});

test('a domain is mapped to the whole API and says where DNS has to point', () => {
  const template = synth({ ...HERE, domainName: 'hub.example.com', domainCertificateArn: CERTIFICATE });
  const made = template.toJSON();
  assert.deepEqual(made.Conditions.OwnDomain, { 'Fn::Not': [{ 'Fn::Equals': ['hub.example.com', ''] }] });
  template.hasResourceProperties('AWS::ApiGatewayV2::DomainName', {
    DomainName: 'hub.example.com',
    DomainNameConfigurations: [{ CertificateArn: CERTIFICATE, EndpointType: 'REGIONAL', SecurityPolicy: 'TLS_1_2' }],
  });
  template.hasResourceProperties('AWS::ApiGatewayV2::ApiMapping', { ApiId: { Ref: 'HttpApi' }, Stage: { 'Fn::Sub': '${HttpApi.Stage}' } });
  template.hasResourceProperties('AWS::Serverless::HttpApi', { DisableExecuteApiEndpoint: { 'Fn::If': ['OwnDomain', true, false] } });
  template.hasOutput('DomainTarget', {});
});

test('who has not said what the account allows is warned, and so is whoever said that it is little', () => {
  const warnings = (parameters: Record<string, string>) => {
    const stack = stackOf({ parameters });
    return Annotations.fromStack(stack).findWarning('*', Match.stringLikeRegexp('Concurrency')).map((found) => found.entry.data as string);
  };
  assert.match(warnings({})[0] ?? '', /get-account-settings/);
  assert.match(warnings({ Concurrency: 'small' })[0] ?? '', /nothing is reserved/);
  assert.deepEqual(warnings({ Concurrency: 'standard' }), []);
});

test('the front changes nothing that WeChat signs or the API reads, and spares WeChat the limit', () => {
  const template = synth({ account: '123456789012', region: 'us-east-1', front: 'true', frontRequestsPer5Minutes: '300', domainName: 'hub.example.com', domainCertificateArn: EDGE_CERTIFICATE });
  template.hasResourceProperties('AWS::CloudFront::Distribution', {
    DistributionConfig: {
      Aliases: ['hub.example.com'],
      DefaultCacheBehavior: {
        AllowedMethods: ['GET', 'HEAD', 'OPTIONS', 'PUT', 'PATCH', 'POST', 'DELETE'],
        CachePolicyId: '4135ea2d-6df8-44a3-9df3-4b5a84be39ad', // CachingDisabled
        OriginRequestPolicyId: 'b689b0a8-53d0-40ab-baf2-68738e2966ac', // AllViewerExceptHostHeader
        ViewerProtocolPolicy: 'https-only',
      },
      WebACLId: { 'Fn::GetAtt': ['WebAcl', 'Arn'] },
    },
  });
  template.hasResourceProperties('AWS::WAFv2::WebACL', {
    Scope: 'CLOUDFRONT',
    Rules: [
      Match.objectLike({
        Statement: { RateBasedStatement: {
          Limit: 300,
          AggregateKeyType: 'IP',
          ScopeDownStatement: { NotStatement: { Statement: { ByteMatchStatement: { SearchString: '/wechat/', PositionalConstraint: 'STARTS_WITH' } } } },
        } },
      }),
      Match.objectLike({
        Statement: { RateBasedStatement: {
          Limit: 600_000,
          AggregateKeyType: 'IP',
          ScopeDownStatement: { ByteMatchStatement: { SearchString: '/wechat/', PositionalConstraint: 'STARTS_WITH' } },
        } },
      }),
    ],
  });
  assert.deepEqual(template.toJSON().Parameters.DomainName.Default, '', 'the API keeps its own address, which the front calls');
  const elsewhere = synth({ ...HERE, ...ON_EDGE, front: true, frontWebAclArn: ACL });
  elsewhere.resourceCountIs('AWS::WAFv2::WebACL', 0);
  elsewhere.hasResourceProperties('AWS::CloudFront::Distribution', { DistributionConfig: { WebACLId: ACL } });
});

test('in China no ARN says arn:aws: and no endpoint amazonaws.com alone', () => {
  for (const region of ['cn-north-1', 'cn-northwest-1', undefined]) {
    const text = JSON.stringify(synth({ region, account: '123456789012', email: 'ops@example.com', budget: 100 }).toJSON());
    assert.ok(!text.includes('arn:aws:'), `${region}: ${/.{80}arn:aws:.{80}/.exec(text)?.[0]}`);
    assert.ok(!/amazonaws\.com(?!\.cn)/.test(text.replace(/[a-z]+\.amazonaws\.com"/g, '"')), `${region}: ${/.{80}amazonaws\.com.{20}/.exec(text)?.[0]}`);
  }
});

test('what is deployed is what cargo-lambda built', () => {
  const built = folder();
  const { functions } = stackOf().parts;
  for (const part of functions) {
    mkdirSync(join(built, program(part)), { recursive: true });
    writeFileSync(join(built, program(part), 'bootstrap'), `program of ${part.id}`);
  }
  const resources = synth({ code: built }).findResources('AWS::Serverless::Function');
  const keys = Object.entries(resources).map(([id, { Properties }]) => {
    assert.ok(Properties.CodeUri.Bucket && Properties.CodeUri.Key, `${id}: ${JSON.stringify(Properties.CodeUri)}`);
    return JSON.stringify(Properties.CodeUri.Key);
  });
  assert.equal(new Set(keys).size, functions.length, 'each function has its own program');
  assert.throws(() => stackOf({ code: folder() }), /option code: these are missing: .*bootstrap-token-refresh.bootstrap.*cargo lambda build/);
});

test("the template's parameters can be given here, and are asked for where they are not", () => {
  const asked = synth().toJSON().Parameters;
  assert.ok(asked.PublicUrl && asked.SecretsId);
  const given = synth({ parameters: '{"PublicUrl":"https://hub.example.com","SecretsId":"oahub"}' }).toJSON();
  assert.ok(!given.Parameters.PublicUrl && given.Parameters.Architecture);
  assert.equal(given.Resources.TenantApi.Properties.Environment.Variables.OAHUB_PUBLIC_URL, 'https://hub.example.com');
  assert.throws(() => stackOf({ parameters: { NoSuchThing: '1' } }), /option parameters: the template has no NoSuchThing.*PublicUrl/);
  assert.throws(() => stackOf({ parameters: { Architecture: 'sparc' } }), /option parameters: Architecture is sparc.*one of arm64, x86_64/);
  for (const url of ['http://hub.example.com', 'https://hub.example.com/?a=1', 'https://me@hub.example.com', 'https://hub.example.com/#a']) {
    assert.throws(() => stackOf({ parameters: { PublicUrl: url } }), /option parameters: PublicUrl is http/, url);
  }
});

test('the app writes its stacks and no others, and none where an option is wrong', () => {
  const run = (options: Options) => {
    const out = folder();
    const env = { ...process.env, CDK_OUTDIR: out, CDK_CONTEXT_JSON: JSON.stringify({ code: 'none', ...options }), CDK_VALIDATION: 'false' };
    const { status, stderr } = spawnSync(process.execPath, [join(ROOT, 'infra/cdk/dist/bin/oahub.js')], { env, encoding: 'utf8' });
    return { status, stderr, stacks: readdirSync(out).filter((name) => name.endsWith('.template.json')).sort() };
  };
  const given = run({ parameters: { PublicUrl: 'https://hub.example.com', SecretsId: 'oahub' } });
  assert.deepEqual([given.status, given.stacks], [0, ['oahub.template.json']], given.stderr);
  const first = run({ ...HERE, ...ON_EDGE, front: true });
  assert.deepEqual([first.status, first.stacks], [0, ['oahub-edge.template.json']], first.stderr);
  assert.match(first.stderr, /Deploy oahub-edge first/);
  const second = run({ ...HERE, ...ON_EDGE, front: true, frontWebAclArn: ACL });
  assert.deepEqual([second.status, second.stacks], [0, ['oahub-edge.template.json', 'oahub.template.json']], second.stderr);
  const wrong = run({ email: 'ops' });
  assert.deepEqual([wrong.status, wrong.stacks], [1, []]);
  assert.match(wrong.stderr, /^option email: /);
});

test('a wrong option is named, with what a right value looks like', () => {
  const rows: [string, Options, RegExp][] = [
    ['a stack name with a blank', { stackName: 'my hub' }, /^option stackName: .*letters, digits and hyphens/],
    ['a stack name of 42 letters', { stackName: 'h'.repeat(42) }, /^option stackName: .*at most 41 letters/],
    ['an account of eleven digits', { account: '12345678901' }, /^option account: .*12 digits/],
    ['a region that is none', { region: 'frankfurt' }, /^option region: .*eu-central-1/],
    ['an e-mail address without a domain', { email: 'ops' }, /^option email: /],
    ['a flag that is no truth value', { alarms: 'yes' }, /^option alarms: .*`true` or `false`/],
    ['a budget of nothing', { budget: 0, email: 'ops@example.com' }, /^option budget: .*from 1 to/],
    ['a budget that nobody hears of', { budget: 10 }, /^option email: it is missing, but a budget is given/],
    ['parameters that are no JSON', { parameters: 'PublicUrl=x' }, /^option parameters: it is no JSON/],
    ['parameters that are a list', { parameters: '[1]' }, /^option parameters: it is no object/],
    ['a domain without a certificate', { domainName: 'hub.example.com' }, /^option domainCertificateArn: it is missing/],
    ['a certificate without a domain', { domainCertificateArn: CERTIFICATE }, /^option domainName: it is missing/],
    ['a URL for a domain', { domainName: 'https://hub.example.com', domainCertificateArn: CERTIFICATE }, /^option domainName: .*host name/],
    ['a certificate of another region', { region: 'eu-west-1', domainName: 'hub.example.com', domainCertificateArn: CERTIFICATE }, /^option domainCertificateArn: it is of eu-central-1.*of eu-west-1/],
    ['another PublicUrl than the domain', { ...HERE, domainName: 'hub.example.com', domainCertificateArn: CERTIFICATE, parameters: { PublicUrl: 'https://a.example' } }, /^option domainName: parameter PublicUrl/],
    ['a front without a region', { front: true }, /^option region: it is missing, but front is on/],
    ['a front in China', { front: true, region: 'cn-north-1' }, /^option front: /],
    ["a front with a certificate of the API's region", { ...HERE, front: true, frontWebAclArn: ACL, domainName: 'hub.example.com', domainCertificateArn: CERTIFICATE }, /^option domainCertificateArn: .*us-east-1/],
    ['a front without a domain', { ...HERE, front: true }, /^option domainName: it is missing, but front is on/],
    ['a web ACL of another region', { ...HERE, ...ON_EDGE, front: true, frontWebAclArn: ACL.replace('us-east-1', 'eu-west-1') }, /^option frontWebAclArn: /],
    ['a web ACL where the stack makes one', { ...ON_EDGE, region: 'us-east-1', front: true, frontWebAclArn: ACL }, /^option frontWebAclArn: it is given/],
    ['a limit below what a web ACL takes', { region: 'us-east-1', front: true, frontRequestsPer5Minutes: 5 }, /^option frontRequestsPer5Minutes: /],
  ];
  for (const [what, options, message] of rows) {
    assert.throws(() => load((name) => options[name]), { name: 'ConfigError', message }, what);
  }
});

test('options may come from a file, under those of the command line', () => {
  const file = join(folder(), 'options.json');
  writeFileSync(file, JSON.stringify({ stackName: 'from-file', budget: 20, email: 'ops@example.com' }));
  const config = load(source((name) => ({ config: file, budget: '30' })[name]));
  assert.deepEqual([config.stackName, config.budget?.limit], ['from-file', 30]);
  writeFileSync(file, JSON.stringify({ stackname: 'typo' }));
  assert.throws(() => source((name) => ({ config: file })[name]), /option stackname: no such option .*stackName/);
  writeFileSync(file, '{');
  assert.throws(() => source((name) => ({ config: file })[name]), /option config: .*could not be read/);
});
